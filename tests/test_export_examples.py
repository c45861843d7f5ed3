"""The examples of docs/export.md run on the sample album."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from conftest import Shell

PAGE = Path(__file__).parent.parent / "docs/export.md"


def test_the_examples_do_what_they_say(shell: Shell, indexed_album: Path) -> None:
    """A dated photo lies in the folder that they name, and shows Anna."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2004:07:14 12:00:00"
    (indexed_album / "2004").mkdir()
    with Image.open(indexed_album / "space/astronaut.png") as photo:
        photo.convert("RGB").save(indexed_album / "2004/anna.jpg", quality=95, exif=exif)
    shell("index", "-q", indexed_album)
    face = json.loads(shell("faces", "--indexed", "--json", "album/2004/anna.jpg").out)
    shell("people", "assign", "Anna", f"face:{face['face_id']}")
    text = PAGE.read_text("utf-8")
    scripts = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    assert len(scripts) == 2
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    printed = [
        subprocess.run(
            ["bash", "-ec", script],
            capture_output=True,
            text=True,
            cwd=shell.work,
            env=shell.environment | {"PATH": path},
            check=True,
            timeout=120,
        ).stdout
        for script in scripts
    ]
    assert len(printed[0].splitlines()) == 10
    assert printed[0].startswith("face_id,photo_id,path,")
    with np.load(shell.work / "faces.npz") as arrays:
        assert len(arrays["embedding"]) == 35
    anna, photos = (len((shell.work / name).read_text().splitlines()) for name in ("anna.jsonl", "photos.jsonl"))
    assert (anna, photos) == (1, 1)
    assert (indexed_album / "2004/anna.jpg.xmp").exists()
    (query,) = re.findall(r"```sql\n(.*?)```", text, re.DOTALL)
    rows = duckdb.sql(query.replace("faces.parquet", str(shell.work / "faces.parquet"))).fetchall()
    assert len(rows) == 10
    assert rows[0][1] > 0.999
    assert rows == sorted(rows, key=lambda row: -row[1])
