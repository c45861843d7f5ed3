"""Compare indexing on GPUs with InsightFace's own loop: `python tests/benchmarks/gpu.py > gpu.json`.

On each corpus the FaceAnalysis loop and `facecli index` run in turns on the device, with all cores of the machine. The
loop's models are loaded and warm before its clock starts. For facecli both are reported: the whole run from the start
of the process to the last fsync, and the rate without the time that a run over a single photo takes. Also reported: the
precision and the batch sizes that facecli chooses by trial and by the free memory, the stages, the load of the GPU, the
rate at which all cores do nothing but decode, which limits any pipeline, and the rate for each batch size and number of
devices. Prints one JSON object to stdout. `--device cpu --smoke` tests all of it in some seconds on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from gpu_machine import machine, watched
from index_speed import HERE, compare
from speed_corpora import make_corpora

from facecli.config import ReadOptions
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.system import count_processors
from facecli.types import Photo, PhotoFile
from facecli.vision.devices.select import find_devices
from facecli.vision.runtime.providers import Device

COUNTS = {"small": (400, 4000), "web": (200, 1000), "large": (40, 320)}
"""The number of photos made, and their number with copies that differ only in a comment."""
SMOKE = {"small": (4, 6), "large": (1, 2)}
BATCH_SIZES = (1, 4, 16, 32, 64, 128)


def main() -> int:
    """Measure and print; returns 1 if facecli does not find the same faces as InsightFace."""
    options = read_options()
    devices = find_devices(options.device)
    with tempfile.TemporaryDirectory(prefix="facecli-gpu-") as name:
        folder = Path(name)
        corpora = make(folder, chosen(options))
        one = [next(iter(corpora.values()))[0]]
        run_facecli(folder, "first", one, device=options.device)  # prepares the models
        choices = read_choices(folder, options.device)
        start = run_facecli(folder, "start", one, device=options.device)
        results = [
            measure(folder, kind, photos, (devices, options.rounds, start["seconds"]))
            for kind, photos in corpora.items()
        ]
        sweeps = {kind: sweep(folder, photos, devices, options.batch_sizes) for kind, photos in corpora.items()}
    whole = {"machine": machine(), "device": joint_name(devices), "choices": choices, "start_seconds": start["seconds"]}
    whole |= {"corpora": results, "sweeps": sweeps}
    sys.stdout.write(json.dumps(whole, indent=1) + "\n")
    return (
        0
        if all(
            r["parity"]["missed"] == r["parity"]["extra"] == 0 and r["parity"]["cosine_min"] >= 0.999 for r in results
        )
        else 1
    )


def read_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--corpus", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-sizes", type=int, nargs="*", default=list(BATCH_SIZES))
    parser.add_argument("--smoke", action="store_true", help="a few photos, one round: whether everything works")
    options = parser.parse_args()
    if options.smoke:
        options.rounds, options.batch_sizes, options.corpus = 1, [2], list(SMOKE)
    return options


def chosen(options: argparse.Namespace) -> dict[str, tuple[int, int]]:
    """The number of photos of each kind."""
    return {kind: (SMOKE if options.smoke else COUNTS)[kind] for kind in options.corpus}


def make(folder: Path, counts: dict[str, tuple[int, int]]) -> dict[str, list[Path]]:
    """The photos of each kind, all with different contents."""
    made = make_corpora(folder / "photos", {kind: distinct for kind, (distinct, _) in counts.items()})
    return {kind: lengthen(photos, counts[kind][1]) for kind, photos in made.items()}


def lengthen(photos: list[Path], count: int) -> list[Path]:
    """More photos with the same pixels; a comment gives each its own content, so that none is recognised as a copy."""
    more = list(photos)
    for number in range(len(photos), count):
        source = photos[number % len(photos)]
        comment = f"copy {number}".encode()
        data = source.read_bytes()
        copy = source.with_name(f"{number:05d}-copy.jpg")
        copy.write_bytes(data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:])
        more.append(copy)
    return more


def measure(folder: Path, kind: str, photos: list[Path], how: tuple[Sequence[Device], int, float]) -> dict[str, Any]:
    """Run both sides in turns on one corpus."""
    devices, rounds, start = how
    loops, runs, ratios = [], [], []
    for number in range(rounds):
        loops.append(run_loop(folder / "loop.npz", photos, devices[0].provider))
        runs.append(run_facecli(folder, f"{kind}-{number}", photos, device=joint_name(devices)))
        ratios.append(loops[-1]["seconds"] / runs[-1]["seconds"])
    decoded = decode_rate(photos)
    steady = [len(photos) / max(1e-9, run["seconds"] - start) for run in runs]
    return {
        "corpus": kind,
        "photos": len(photos),
        "ratios": ratios,
        "loop_photos_per_second": [len(photos) / loop["seconds"] for loop in loops],
        "photos_per_second": [len(photos) / run["seconds"] for run in runs],
        "steady_photos_per_second": steady,
        "decode_only_photos_per_second": decoded,
        "share_of_decoding": statistics.median(steady) / decoded,
        "loop_gpu": loops[-1]["gpu"],
        "gpu": runs[-1]["gpu"],
        "stages": runs[-1]["stages"],
        "bottleneck": runs[-1]["bottleneck"],
        "parity": asdict(compare(folder / "loop.npz", folder / f"{kind}-0", photos)),
    }


def sweep(
    folder: Path, photos: list[Path], devices: Sequence[Device], batch_sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """Run once for each batch size on the first device, and once for each number of devices."""
    found = []
    cases = [(devices[:1], size) for size in batch_sizes] + [
        (devices[:count], 64) for count in range(1, len(devices) + 1)
    ]
    for number, (some, size) in enumerate(cases):
        run = run_facecli(
            folder, f"sweep-{photos[0].parent.name}-{number}", photos, device=joint_name(some), batch_size=size
        )
        record = {
            "device": run["device"],
            "batch_size": size,
            "photos_per_second": len(photos) / run["seconds"],
            "bottleneck": run["bottleneck"],
        }
        found.append(record | {"gpu": run["gpu"]})
    return found


def run_loop(target: Path, photos: Sequence[Path], provider: str) -> dict[str, Any]:
    """The seconds of InsightFace's loop, and the load of the GPU."""
    command = [sys.executable, str(HERE / "insightface_loop.py"), str(target), *map(str, photos)]
    with watched() as watch:
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=os.environ | {"LOOP_PROVIDER": provider})
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said | {"gpu": watch.record()}


def run_facecli(
    folder: Path, index: str, photos: Sequence[Path], *, device: str, batch_size: int = 64
) -> dict[str, Any]:
    """The report of an index run, and the load of the GPU."""
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
    ]
    command += ["--device", device, "--batch-size", str(batch_size)]
    own = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    with watched() as watch:
        done = subprocess.run(
            command, check=True, input="".join(f"{p}\n" for p in photos).encode(), stdout=subprocess.PIPE, env=own
        )
    report: dict[str, Any] = json.loads(done.stdout)
    return report | {"gpu": watch.record()}


def read_choices(folder: Path, device: str) -> dict[str, Any]:
    """The choices of the run that prepared the models: precision, batch sizes and free memory."""
    own = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, str(HERE / "gpu_choices.py"), device], check=True, stdout=subprocess.PIPE, env=own
    )
    choices: dict[str, Any] = json.loads(done.stdout)
    return choices


def decode_rate(photos: Sequence[Path]) -> float:
    """Photos per second if all cores only read and decode."""
    cores = count_processors()
    parts = [photos[start::cores] for start in range(cores)]

    def read(part: Sequence[Path]) -> None:
        reader = PhotoReader(ReadOptions())
        for path in part:
            file = stat_photo(str(path))
            assert isinstance(file, PhotoFile)
            contents = reader.read(file)
            assert not hasattr(contents, "reason")
            assert isinstance(reader.decode(contents), Photo)
        reader.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(read, parts))
    return len(photos) / (time.perf_counter() - began)


def joint_name(devices: Sequence[Device]) -> str:
    """The name of all devices together: cuda:0,1."""
    first = devices[0]
    return first.name if len(devices) == 1 else f"{first.kind}:{','.join(str(device.number) for device in devices)}"


if __name__ == "__main__":
    sys.exit(main())
