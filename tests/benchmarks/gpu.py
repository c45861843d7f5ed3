"""Compare indexing on GPUs with InsightFace's own loop, and measure what facecli has reckoned about GPUs.

Usage: `python tests/benchmarks/gpu.py [--seconds 240] >> gpu.jsonl`; the time bounds the whole.

Each step prints one line of JSON to stdout as soon as it ends, the most telling first; one that fails or has no time
left prints its error, and the next goes on:

- `machine`: versions, and what facecli chooses on the device (precision, batches by the free memory)
- `photos`: the corpora are made: a few photos are encoded, copies differ in a comment
- `parity`: the same faces as FaceAnalysis on the processor, on the distinct photos of all corpora
- `start`: the seconds of a run over one photo
- `rates`: for each corpus the FaceAnalysis loop on the device and `facecli index`, whole and without the start; the
  stages; the load of the GPU; and the rate at which all cores do nothing but decode, which limits any pipeline
- `batches`: milliseconds of a batch of each network by its size
- `sweep`: the rate for each batch size and number of worker processes
- `memory`: megabytes by batch size, and what is left of a batch under a cap of the memory
- `half`: the recogniser in half precision
- `faiss`: 1,000 face:ID queries of a million random faces, and many queries at once on the processor and on GPUs

`--device cpu --smoke` tries all of it in some seconds on any machine, with the processor in a GPU's place where only
networks are measured. Exits with 1 if a step failed or the faces differ.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_machine import machine
from gpu_runs import Runs, busy, decode_rate, milliseconds_by_stage
from index_speed import compare
from speed_corpora import lengthen, make_corpora

COUNTS = {"small": (12, 8000), "large": (6, 400), "web": (12, 2000)}
"""The number of photos made, and their number with copies; in the order of their worth."""
SMOKE = {"small": (3, 6), "large": (1, 1)}
LOOP = 200
"""The photos of a corpus that InsightFace's loop is measured on."""
ROWS = (1, 2, 4, 8, 16, 32, 64, 128)
SWEEP = (*(("--processes", n) for n in (1, 2, 4, 8)), *(("--batch-size", n) for n in (8, 32, 128)))
FACES, SMOKE_FACES = 1_000_000, 500
LONGEST = 0.25
"""The share of all seconds that one step may take, so that one that hangs does not cost the others."""
CPU = "CPUExecutionProvider"


class Steps:
    """Runs steps within the seconds of the whole, and prints a line for each."""

    def __init__(self, runs: Runs, seconds: float) -> None:
        self._runs, self._seconds, self._until, self.failed = runs, seconds, time.monotonic() + seconds, False

    def do(self, name: str, action: Callable[[], dict[str, Any]], longest: float = LONGEST) -> None:
        """Do a step in at most this share of all seconds; the line of one that fails has an `error`."""
        began = time.monotonic()
        try:
            self._runs.allow(min(longest * self._seconds, self._until - began))
            record = action()
        except Exception as error:  # noqa: BLE001 (whatever fails, the other steps are worth their time)
            record = {"error": f"{type(error).__name__}: {error}"}
        self.failed |= "error" in record or record.get("holds") is False
        line = {"step": name, "seconds": round(time.monotonic() - began, 2), **record}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


class Benchmark:
    """The steps on one device."""

    def __init__(self, runs: Runs, options: argparse.Namespace) -> None:
        self._runs, self._device, self._smoke, self._index = runs, options.device, options.smoke, options.index
        self._counts = SMOKE if options.smoke else COUNTS
        self._made: dict[str, list[Path]] = {}
        self._photos: dict[str, list[Path]] = {}
        self._provider, self._devices, self._start = CPU, 1, 0.0

    def run(self, steps: Steps) -> None:
        """All steps."""
        steps.do("machine", self._choose)
        steps.do("photos", self._make)
        steps.do("parity", self._compare)
        steps.do("start", self._begin)
        for kind in self._counts:
            steps.do(f"rates {kind}", lambda kind=kind: self._rate(kind))  # type: ignore[misc]
        steps.do("batches", lambda: self._networks("batches"))
        for option, value in SWEEP[::4] if self._smoke else SWEEP:
            steps.do(f"sweep {option} {value}", lambda o=option, v=value: self._sweep(o, v))  # type: ignore[misc]
        steps.do("memory", lambda: self._networks("memory"))
        steps.do("half", lambda: self._networks("half"))
        steps.do("faiss", self._search, longest=1)

    def _choose(self) -> dict[str, Any]:
        self._provider = "CUDAExecutionProvider" if self._device.startswith("cuda") else CPU
        return machine() | self._runs.script("gpu_choices.py", self._device)

    def _make(self) -> dict[str, Any]:
        self._made = make_corpora(self._runs.folder / "photos", {kind: n for kind, (n, _) in self._counts.items()})
        for kind, photos in self._made.items():
            self._photos[kind] = lengthen(photos, self._counts[kind][1], self._runs.check)
        sizes = {kind: sum(p.stat().st_size for p in photos) >> 20 for kind, photos in self._photos.items()}
        return {"photos": {kind: len(photos) for kind, photos in self._photos.items()}, "megabytes": sizes}

    def _compare(self) -> dict[str, Any]:
        photos = [photo for made in self._made.values() for photo in made]
        report = self._indexed("parity", photos)
        self._runs.loop(photos, CPU)
        parity = compare(self._runs.folder / "loop.npz", self._runs.folder / "parity", photos)
        return {"photos": len(photos), "device": report["device"], **asdict(parity), "holds": parity.holds("exact")}

    def _begin(self) -> dict[str, Any]:
        report = self._indexed("start", self._made[next(iter(self._made))][:1])
        self._start, self._devices = report["seconds"], max(1, len(report["device"].split(",")))
        return {"start_seconds": self._start, "provider": report["provider"]}

    def _rate(self, kind: str) -> dict[str, Any]:
        photos = self._photos[kind]
        report = self._indexed(f"rates-{kind}", photos)
        loop = self._runs.loop(photos[:LOOP], self._provider)
        steady, plain = self._steady(photos, report), min(LOOP, len(photos)) / loop["seconds"]
        decoded = decode_rate(photos[: 4 * LOOP], self._runs.check)
        return {
            "photos": len(photos),
            "faces": report["faces"]["added"],
            "loop_photos_per_second": round(plain, 1),
            "photos_per_second": round(len(photos) / report["seconds"], 1),
            "steady_photos_per_second": round(steady, 1),
            "ratio": round(steady / plain, 2),
            "ratio_with_start": round(len(photos) / report["seconds"] / plain, 2),
            "decode_only_photos_per_second": round(decoded, 1),
            "share_of_decoding": round(steady / decoded, 3),
            "bottleneck": report["bottleneck"],
            "milliseconds_of_work_and_waiting": milliseconds_by_stage(report, len(photos)),
            **busy(report, self._devices),
            "loop_gpu": loop["gpu"],
        }

    def _networks(self, what: str) -> dict[str, Any]:
        return self._runs.script("gpu_networks.py", what, self._device, *map(str, ROWS[:3] if self._smoke else ROWS))

    def _sweep(self, option: str, value: int) -> dict[str, Any]:
        photos = self._photos["small"]
        report = self._indexed(f"sweep{option}-{value}", photos, option, str(value))
        rates = {"steady_photos_per_second": round(self._steady(photos, report), 1)}
        return rates | {"bottleneck": report["bottleneck"], **busy(report, self._devices)}

    def _search(self) -> dict[str, Any]:
        faces = str(SMOKE_FACES if self._smoke else FACES)
        index = self._index or str(self._runs.folder / "faces")
        return self._runs.script("gpu_search.py", "measure", index, faces, self._device)

    def _indexed(self, name: str, photos: list[Path], *options: str) -> dict[str, Any]:
        return self._runs.index(name, photos, "--device", self._device, *options)

    def _steady(self, photos: list[Path], report: dict[str, Any]) -> float:
        """Photos per second without the start of the process, the devices and the models."""
        return len(photos) / max(1e-9, float(report["seconds"]) - self._start)


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=240, help="the time of all steps together")
    parser.add_argument("--index", metavar="DIR", help="the index of random faces that `gpu_search.py make` has made")
    parser.add_argument("--smoke", action="store_true", help="a few photos: whether everything works")
    return parser.parse_args()


def main() -> int:
    """Measure and print."""
    options = read_options()
    with tempfile.TemporaryDirectory(prefix="facecli-gpu-") as name:
        runs = Runs(Path(name))
        steps = Steps(runs, options.seconds)
        Benchmark(runs, options).run(steps)
    return int(steps.failed)


if __name__ == "__main__":
    sys.exit(main())
