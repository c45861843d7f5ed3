"""How fast indexing is compared with InsightFace's own loop, and that both find the same faces.

Usage: `python tests/benchmarks/index_speed.py`.

On each corpus the FaceAnalysis loop and `facecli index` run in turns, pinned to the same two cores. The loop's models
are loaded and warm before its clock starts; facecli's clock is its report's `seconds`, from the start of the process to
the last fsync. A machine's speed changes from minute to minute, so only the ratios of pairs count. Faces are compared
as the index holds them (embeddings in 16 bits).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from speed_corpora import make_corpora

from facecli.boxes import overlaps
from facecli.store.reader import open_reader
from facecli.types import FoundBy

HERE = Path(__file__).resolve().parent
COUNTS = {"small": 200, "web": 64, "large": 100}
SMOKE = {"small": 6, "web": 4, "large": 2}
SAME_PLACE = 0.9
LEAST_COSINES = {"exact": (0.999, 0.9999), "fast": (0.998, 0.9995)}
"""The minimum and mean cosine guaranteed by each precision."""


@dataclass
class Side:
    """One side's runs over a corpus."""

    photos_per_second: list[float] = field(default_factory=list)
    peak_mb: float = 0.0


@dataclass
class Parity:
    """The comparison of facecli's faces with those of the loop."""

    faces: int
    missed: int
    extra: int
    """Faces of the main pass that the loop does not find."""
    second_pass: int
    """Faces that fill the frame, which only facecli searches for."""
    cosine_min: float
    cosine_mean: float

    def holds(self, precision: str) -> bool:
        """Whether the same faces were found, with embeddings as close as the precision guarantees."""
        least, mean = LEAST_COSINES[precision]
        return self.missed == self.extra == 0 and self.cosine_min >= least and self.cosine_mean >= mean


@dataclass
class Result:
    """The measurements on one corpus."""

    corpus: str
    photos: int
    loop: Side
    facecli: Side
    ratios: list[float]
    parity: Parity
    stages: dict[str, dict[str, float]]
    bottleneck: str


def main() -> int:
    """Measure and print; returns 1 if facecli does not find the same faces as InsightFace."""
    options = read_options()
    with tempfile.TemporaryDirectory(prefix="facecli-speed-") as name:
        folder = Path(name)
        counts = {c: (SMOKE if options.smoke else COUNTS)[c] for c in options.corpus}
        corpora = make_corpora(folder / "photos", counts)
        if options.photos is not None:
            corpora = {
                "given": sorted(
                    p for p in options.photos.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp")
                )
            }
        results = [measure(folder, corpus, photos, options) for corpus, photos in corpora.items()]
    if options.json:
        sys.stdout.write(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    else:
        sys.stdout.write("\n".join(line for result in results for line in lines_of(result)) + "\n")
    return 0 if all(r.parity.holds(options.precision) for r in results) else 1


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--photos", type=Path, metavar="DIR", help="measure on these photos instead")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--precision",
        choices=LEAST_COSINES,
        default="exact",
        help="of facecli; fast needs the extra [openvino] to differ",
    )
    parser.add_argument("--smoke", action="store_true", help="a few photos, one round: whether everything works")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def measure(folder: Path, corpus: str, photos: list[Path], options: argparse.Namespace) -> Result:
    """Run both sides in turns; the first run of facecli, which prepares the models, is not counted."""
    run_facecli(folder, f"{corpus}-warm", photos, options.precision)
    loop, ours, ratios, report = Side(), Side(), [], {}
    for number in range(1 if options.smoke else options.rounds):
        seconds, peak = run_loop(folder / "loop.npz", photos)
        loop.photos_per_second.append(len(photos) / seconds)
        loop.peak_mb = max(loop.peak_mb, peak)
        report, peak = run_facecli(folder, f"{corpus}-{number}", photos, options.precision)
        ours.photos_per_second.append(len(photos) / report["seconds"])
        ours.peak_mb = max(ours.peak_mb, peak)
        ratios.append(ours.photos_per_second[-1] / loop.photos_per_second[-1])
    parity = compare(folder / "loop.npz", folder / f"{corpus}-0", photos)
    return Result(corpus, len(photos), loop, ours, ratios, parity, report["stages"], report["bottleneck"])


def pin() -> None:
    """Pin a process to the first two cores."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def run_loop(target: Path, photos: list[Path]) -> tuple[float, float]:
    """The loop's seconds and its peak memory in MB."""
    command = [sys.executable, str(HERE / "insightface_loop.py"), str(target), *map(str, photos)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, preexec_fn=pin)
    said = json.loads(done.stdout.splitlines()[-1])
    return said["seconds"], said["peak_mb"]


def run_facecli(folder: Path, index: str, photos: list[Path], precision: str) -> tuple[dict[str, Any], float]:
    """The report of an index run and its peak memory in MB."""
    own = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    own.pop("PYTHONDONTWRITEBYTECODE", None)  # as installed, where Python compiles nothing
    command = [
        sys.executable,
        "-m",
        "facecli",
        "index",
        "--json",
        "--quiet",
        "-i",
        str(folder / index),
        "--files-from",
        "-",
        "--precision",
        precision,
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=own, preexec_fn=pin)  # noqa: PLW1509 (as above)
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("".join(f"{p}\n" for p in photos).encode())
    process.stdin.close()
    report = json.loads(process.stdout.read())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"facecli index exits {process.returncode}"
    return report, usage.ru_maxrss / 1024


def compare(expected: Path, index: Path, photos: list[Path]) -> Parity:
    """Compare each face of the loop with the face of the index in the same place."""
    with np.load(expected) as data:
        owner, boxes, embeddings = data["photo"], data["box"], data["embedding"]
    cosines: list[float] = []
    missed = extra = second = 0
    with open_reader(index) as reader:
        known = {stored.file.path: stored.photo_id for stored in reader.photos()}
        for number, path in enumerate(photos):
            faces = reader.faces_of(known[str(path)])
            main = [f for f in faces if f.found_by is FoundBy.MAIN]
            second += sum(f.found_by is FoundBy.SMALL_SCALE for f in faces)
            own = owner == number
            found = match(boxes[own], np.array([f.box for f in main], np.float32).reshape(-1, 4))
            missed += int((found < 0).sum())
            extra += len(main) - int((found >= 0).sum())
            cosines += [
                float(main[i].embedding @ e) / float(np.linalg.norm(main[i].embedding))
                for i, e in zip(found, embeddings[own], strict=True)
                if i >= 0
            ]
    return Parity(len(owner), missed, extra, second, min(cosines, default=0.0), statistics.fmean(cosines or [0.0]))


def match(boxes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.intp]:
    """For each of `boxes` (n, 4), the number of the one of `others` in the same place, or -1."""
    if not len(boxes) or not len(others):
        return np.full(len(boxes), -1)
    shares = overlaps(boxes, others)
    return np.where(shares.max(axis=1) >= SAME_PLACE, shares.argmax(axis=1), -1)


def lines_of(result: Result) -> list[str]:
    """The figures of a corpus as text."""
    parity, spread = result.parity, f"{min(result.ratios):.2f} to {max(result.ratios):.2f}"
    sides = [
        f"{name} {statistics.median(s.photos_per_second):.1f} photos/s, {s.peak_mb:.0f} MB"
        for name, s in (("loop", result.loop), ("facecli", result.facecli))
    ]
    stages = ", ".join(f"{name} {1000 * t['busy_seconds'] / result.photos:.1f}" for name, t in result.stages.items())
    found = f"{parity.missed} missed, {parity.extra} extra, {parity.second_pass} that fill the frame"
    return [
        f"{result.corpus}: {statistics.median(result.ratios):.2f} times the loop ({spread}) on {result.photos} photos; {'; '.join(sides)}",  # noqa: E501
        f"  {parity.faces} faces: {found}; cosine min {parity.cosine_min:.5f}, mean {parity.cosine_mean:.6f}",
        f"  busy ms a photo: {stages}; bound by {result.bottleneck}",
    ]


if __name__ == "__main__":
    sys.exit(main())
