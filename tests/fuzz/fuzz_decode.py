"""Damaged files of every format through the decoders.

Usage: `python tests/fuzz/fuzz_decode.py --inputs 100000 --jobs 2`.

Each job is a separate process, so that a crash in a worker's decoder is seen, with the input that caused it. Every
input must give a photo or a reason, without an exception, output, lost budget or long wait. Crashes and time limits of
the helper process are only counted, since it exists to contain them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import resource
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from corpus import corpus
from mutation import mutate

from facecli.config import ReadOptions
from facecli.photos.budget import PixelBudget
from facecli.photos.decode import PhotoReader
from facecli.types import FileContents, Photo, PhotoFile, Skipped

SECONDS = 20.0
"""The longest time for one input, in seconds."""


def make_input(files: list[tuple[str, bytes]], seed: int, number: int) -> tuple[str, bytes]:
    """Input `number` of a run: the same for the same seed."""
    dice = random.Random(seed * 1_000_003 + number)
    name, data = files[number % len(files)]
    return name, mutate(data, dice.choice(files)[1], dice)


def judge(reader: PhotoReader, data: bytes) -> str:
    """Decode one input and return the outcome that it counts as; raises AssertionError if a check fails."""
    began = time.monotonic()
    outcome = reader.decode(FileContents(PhotoFile("/fuzz", len(data), 0), b"", data))
    took = time.monotonic() - began
    assert took < SECONDS, f"took {took:.1f} s"
    if isinstance(outcome, Photo):
        assert outcome.pixels.shape == (outcome.height, outcome.width, 3)
        outcome.pixels.sum()  # every byte can be read
        return "photo"
    assert isinstance(outcome, Skipped)
    assert outcome.detail
    isolated = "crashed" in outcome.detail or "ended with code" in outcome.detail or "took more than" in outcome.detail
    return f"isolated: {outcome.detail}" if isolated else str(outcome.reason)


def run_job(arguments: argparse.Namespace) -> Counter[str]:
    """Test a share of the inputs in this process, and record the position in the file `progress`."""
    files = sorted(corpus().items())
    budget = PixelBudget(2_000_000_000)
    counts: Counter[str] = Counter()
    slowest = (0.0, -1)
    with (
        contextlib.closing(PhotoReader(ReadOptions(max_pixels=arguments.max_pixels), budget)) as reader,
        open(arguments.progress, "r+b", 0) as progress,
    ):
        for number in range(arguments.first, arguments.inputs, arguments.jobs):
            progress.seek(0)
            progress.write(struct.pack("<q", number))
            name, data = make_input(files, arguments.seed, number)
            began = time.monotonic()
            try:
                verdict = judge(reader, data)
            except Exception as error:
                raise RuntimeError(f"input {number} of seed {arguments.seed} ({name}): {error}") from error
            slowest = max(slowest, (time.monotonic() - began, number))
            counts[verdict] += 1
            if verdict.startswith("isolated"):
                counts[f"input {number} ({name}) {verdict}"] += 1
        reader.release()
        assert budget.pixels.take(budget.total) == budget.pixels.total, "a photo kept its share of the budget"
    counts[f"slowest: {slowest[0]:.2f} s, input {slowest[1]}"] += 1
    counts[f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB"] += 1
    return counts


def start_job(arguments: argparse.Namespace, first: int, progress: str) -> subprocess.Popen[bytes]:
    """Run one share in a separate process."""
    command = [sys.executable, __file__, "--first", str(first), "--progress", progress]
    for name in ("inputs", "jobs", "seed", "max_pixels"):
        command += [f"--{name.replace('_', '-')}", str(getattr(arguments, name))]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run_all(arguments: argparse.Namespace) -> int:
    """Run all shares and print the result; returns the number of failed jobs."""
    with tempfile.TemporaryDirectory() as folder:
        places = [os.path.join(folder, str(first)) for first in range(arguments.jobs)]
        for place in places:
            Path(place).write_bytes(bytes(8))
        jobs = [start_job(arguments, first, place) for first, place in enumerate(places)]
        failed = 0
        for job, place in zip(jobs, places, strict=True):
            out, printed = job.communicate()
            sys.stdout.write(out.decode(errors="replace") + printed.decode(errors="replace"))
            if job.returncode or printed:
                failed += 1
                (number,) = struct.unpack("<q", Path(place).read_bytes())
                sys.stdout.write(f"FAILED with code {job.returncode} at input {number} of seed {arguments.seed}\n")
    return failed


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-pixels", type=int, default=20_000_000)
    parser.add_argument("--first", type=int, default=-1, help=argparse.SUPPRESS)
    parser.add_argument("--progress", default="", help=argparse.SUPPRESS)
    parser.add_argument("--write", type=int, default=-1, help="write this input to stdout instead")
    arguments = parser.parse_args()
    if arguments.write >= 0:
        sys.stdout.buffer.write(make_input(sorted(corpus().items()), arguments.seed, arguments.write)[1])
        return 0
    if arguments.first < 0:
        return 1 if run_all(arguments) else 0
    for what, count in sorted(run_job(arguments).items()):
        sys.stdout.write(f"{count:8d} {what}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
