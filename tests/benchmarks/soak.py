"""Kill index runs at random moments, again and again, and check that nothing is lost.

    python tests/benchmarks/soak.py [--kills 200] [--photos 60] [--seed N]

Uses real photos, real models and the real command. After each SIGKILL the index must be sound and hold only complete
photos; a run that may finish must give exactly the same index as a run without kills. Prints one JSON object; exits
with 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import faiss
import numpy as np
from PIL import Image

from facecli.store.reader import open_reader

FACES = ((110, 330), (320, 210), (520, 340), (795, 410), (955, 130), (1170, 340))
"""Centres of the faces of InsightFace's sample photo t1.jpg."""
RESTART_AFTER = 7
"""The most kills after which the index is finished, compared and started again."""

Bits = list[tuple[str, int, bytes, bytes]]


@dataclass
class Tally:
    """The results."""

    kills: int = 0
    kills_before_the_index: int = 0
    photos_kept: int = 0
    finished: int = 0
    lost: int = 0
    reports: list[str] | None = None


def make_photos(folder: Path, count: int) -> Path:
    """Small photos with one face each, all different."""
    folder.mkdir(parents=True)
    (path,) = [f.locate() for f in importlib.metadata.files("insightface") or [] if f.name == "t1.jpg"]
    group = Image.open(str(path))
    for number in range(count):
        x, y = FACES[number % len(FACES)]
        crop = group.crop((x - 105, y - 115, x + 105, y + 115)).point(
            lambda v, n=number: min(255, int(v * (0.7 + 0.005 * n)))
        )
        crop.save(folder / f"{number:04}.jpg", quality=92)
    return folder


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "facecli", *arguments]


def index(work: Path, limit: float | None = None) -> int:
    """Run `facecli index` and kill it after `limit` seconds; returns the exit code, negative for a signal."""
    process = subprocess.Popen(command("index", "-q", "--batch-size", "4", "photos"), cwd=work, start_new_session=True)
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(limit)
    os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def read_bits(work: Path) -> Bits:
    """All data of the faces in the index, after checking that FAISS holds the same."""
    with open_reader(work / ".facecli") as reader:
        faces = [(p.file.path, f) for p in reader.photos() for f in reader.faces_of(p.photo_id)]
    (vectors,) = (work / ".facecli").glob("vectors-*.faiss")
    stored = faiss.read_index(str(vectors))
    held = stored.reconstruct_n(0, stored.ntotal)
    if not {f.embedding.tobytes() for _, f in faces} <= {np.float32(row).tobytes() for row in held}:
        raise AssertionError("FAISS holds other vectors than the catalogue")
    return [
        (path[len(str(work)) :], f.face_id, np.float32([*f.box, f.score]).tobytes(), f.embedding.tobytes())
        for path, f in faces
    ]


def is_sound(work: Path) -> str:
    """The problems reported by `facecli check`; empty if none."""
    done = subprocess.run(command("check"), cwd=work, capture_output=True, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).decode(errors="replace")


def soak(work: Path, kills: int, photos: int, dice: random.Random) -> Tally:
    """Kill runs and compare."""
    make_photos(work / "photos", photos)
    index(work)
    reference = read_bits(work)
    shutil.rmtree(work / ".facecli")
    began = time.monotonic()
    index(work)
    seconds = time.monotonic() - began
    shutil.rmtree(work / ".facecli")
    tally = Tally(reports=[])
    assert tally.reports is not None
    since = 0
    while tally.kills < kills:
        killed = index(work, dice.uniform(0.05, 1.1) * seconds) == -signal.SIGKILL
        tally.kills += killed
        since += killed
        if not (work / ".facecli" / "catalog.db").exists():
            tally.kills_before_the_index += killed
            continue
        if said := is_sound(work):
            tally.lost += 1
            tally.reports.append(said)
        part = read_bits(work)
        if part != reference[: len(part)]:
            tally.lost += 1
            tally.reports.append("faces that a run without kills does not have")
        tally.photos_kept = max(tally.photos_kept, len({path for path, *_ in part}))
        if not killed or since >= RESTART_AFTER:
            index(work)
            tally.finished += 1
            if read_bits(work) != reference or is_sound(work):
                tally.lost += 1
                tally.reports.append("the finished index differs from that of a run without kills")
            shutil.rmtree(work / ".facecli")
            since = 0
    return tally


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="facecli-soak-") as folder:
        tally = soak(Path(folder), options.kills, options.photos, random.Random(options.seed))
    sys.stdout.write(json.dumps({"seed": options.seed, "photos": options.photos, **asdict(tally)}) + "\n")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
