"""The benchmark of searches works on small files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from random_faces import make_index, make_photo, random_faces, unit

from facecli.types import PhotoFile

PEOPLE = 20


def write_faces(index: Path, count: int) -> None:
    """An index of one photo with so many faces, of some people."""
    chance = np.random.default_rng(2)
    people = random_faces(chance, PEOPLE)[np.arange(count) % PEOPLE]
    faces = unit(people + np.float32(0.9) * random_faces(chance, count))
    make_index(index, [make_photo(PhotoFile("/crowd.jpg", 1, 2), faces)])


def test_smoke(tmp_path: Path) -> None:
    write_faces(tmp_path / "real", 600)
    script, work = Path(__file__).with_name("search_scale.py"), tmp_path / "work"
    work.mkdir()
    command = [
        sys.executable,
        str(script),
        "--faces",
        "2000",
        "6000",
        "--compact-from",
        "3000",
        "--tries",
        "1",
        "--json",
        "--work",
        str(work),
    ]
    command += ["--real", str(tmp_path / "real"), "--hard", str(tmp_path / "real")]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    small, large = told["sizes"]
    assert (small["faces"], small["compact_megabytes"], large["faces"]) == (2000, 0, 6000)
    assert large["compact_megabytes"] > 0.4
    assert large["candidates"] >= 1
    assert all(times["warm"] > 0 for times in (large["before"], large["exact"], large["first_pass"]))
    for kind in ("all pairs", "hard queries"):
        assert told["recall"][kind]["0.34"]["missed with 0.12"] == 0
        assert told["recall"][kind]["0.34"]["pairs"] > 100
    assert list(work.iterdir()) == []
