"""The benchmark of searches works on small files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from facecli.fingerprint import Fingerprint
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.writer import open_writer
from facecli.types import Detections, IndexedPhoto, PhotoFile

WIDE, PEOPLE = 512, 20


def write_faces(index: Path, count: int) -> None:
    """An index of one photo with so many faces, of some people."""
    chance = np.random.default_rng(2)
    people = chance.standard_normal((PEOPLE, WIDE), np.float32)
    faces = people[np.arange(count) % PEOPLE] + np.float32(0.9) * chance.standard_normal((count, WIDE), np.float32)
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    boxes = np.tile(np.array([0, 0, 60, 60], np.float32), (count, 1)) + np.arange(count, dtype=np.float32)[:, None] * 70
    found = Detections(
        boxes, np.full(count, 0.8, np.float32), np.zeros((count, 5, 2), np.float32), np.zeros(count, np.uint8)
    )
    kind = EmbeddingKind(Fingerprint("made up", "d" * 64, "e" * 64, WIDE), "made by chance")
    photo = IndexedPhoto(PhotoFile("/crowd.jpg", 1, 2), bytes(16), 50_000, 50_000, found, faces)
    with open_writer(index, kind, create=True) as writer:
        writer.commit(Batch(photos=(photo,)))
        writer.finish()


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
