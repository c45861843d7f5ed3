"""Measure the networks alone on a device, and print one JSON object: `python gpu_networks.py WHAT DEVICE [ROWS…]`.

WHAT is `batches` (milliseconds of a batch of each network by its rows), `memory` (megabytes of the GPU by rows, and the
batches left under caps of the arena) or `half` (the recogniser in single and in half precision). For the device `cpu`
the processor takes a GPU's place.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
from gpu_choices import Heard, open_default, open_devices
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.config import DetectionOptions
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels
from facecli.vision.optimization import half_precision
from facecli.vision.recognition.alignment import CROP
from facecli.vision.runtime.batches import Batches
from facecli.vision.runtime.cuda import read_gpu

DETECTION = DetectionOptions()
TRIES, WARM = 9, 2
CAPS_MB = (64, 256, 1600)
ALWAYS, NEVER = 1e9, 0.0
"""The share of single precision's time up to which half precision is taken."""


def networks_of(models: FaceModels) -> dict[str, tuple[Batches, int]]:
    """Each network with the side of its input."""
    detector, embedder = models.detector.batches, models.embedder.batches
    return {
        "detect": (detector, DETECTION.det_size),
        "small pass": (detector, DETECTION.small_scale),
        "embed": (embedder, CROP),
    }


def noise(batches: Batches, rows: int, side: int) -> NDArray[Any]:
    """A batch of random pixels, where the network has its batches."""
    pixels = np.random.default_rng(rows).integers(0, 256, (rows, side, side, 3), np.uint8)
    wanted = pixels if batches.session.input.pixels else pixels.transpose(0, 3, 1, 2).astype(np.float32)
    feed = batches.blank(wanted.shape, wanted.dtype)
    feed[:] = wanted
    return feed


def milliseconds(batches: Batches, rows: int, side: int) -> float:
    """The median of several runs of a batch, after warm ones."""
    feed, taken = noise(batches, rows, side), []
    for _ in range(WARM + TRIES):
        began = time.perf_counter()
        batches.session.run(feed)
        taken.append(1000 * (time.perf_counter() - began))
    return round(float(np.median(taken[WARM:])), 3)


def measure_batches(device: Device, rows: list[int]) -> dict[str, Any]:
    """Milliseconds of a batch of each network, by its rows."""
    models, found = open_default(device, max(rows)), {}
    for name, (batches, side) in networks_of(models).items():
        found[name] = {n: milliseconds(batches, n, side) for n in rows if n <= batches.most}
    return {"milliseconds": found, "precision": "half" if models.half else "single"}


def measure_memory(device: Device, rows: list[int]) -> dict[str, Any]:
    """Megabytes of the GPU that each network takes up to a batch, and the batches under caps of the arena."""
    models, taken = open_default(device, max(rows)), {}
    for name, (batches, side) in networks_of(models).items():
        before = free_mb(device)
        taken[name] = {}
        for count in sorted(count for count in rows if count <= batches.most):
            batches.session.run(noise(batches, count, side))
            taken[name][count] = before - free_mb(device)
    return {"megabytes": taken, "caps": [under_cap(device, cap, max(rows)) for cap in CAPS_MB]}


def free_mb(device: Device) -> int:
    gpu = read_gpu(device.number)
    return 0 if gpu is None else gpu.memory_free >> 20


def under_cap(device: Device, cap: int, rows: int) -> dict[str, Any]:
    """What is left of a batch of the detector where each session may take so many megabytes."""
    capped = replace(device, options=(*device.options, ("gpu_mem_limit", str(cap << 20))))
    full: list[int] = []
    batches = open_default(capped, rows).detector.batches
    batches.note_full = full.append
    feed = noise(batches, rows, DETECTION.det_size)
    done = sum(count for count, _ in batches.run(feed, rows))
    return {"cap_mb": cap, "rows": done, "refused": full, "rows_of_a_batch": batches.most}


def measure_half(device: Device, rows: list[int]) -> dict[str, Any]:
    """The recogniser in both precisions: what is said of the trial, and the milliseconds of a batch by its rows."""
    found: dict[str, Any] = {}
    for precision, share in (("half", ALWAYS), ("single", NEVER)):
        half_precision.LEAST_GAIN = share
        # The choice is kept for each name of the hardware; another name is another trial.
        half_precision._hardware = lambda _, precision=precision: f"benchmark-{precision}"  # type: ignore[assignment, misc]
        heard = Heard()
        batches = open_default(device, max(rows), heard).embedder.batches
        times = {n: milliseconds(batches, n, CROP) for n in rows}
        found[precision] = {"said": [line for line in heard.details if "computes in" in line], "milliseconds": times}
    return found


MEASURES = {"batches": measure_batches, "memory": measure_memory, "half": measure_half}


def main() -> None:
    """Measure on the first device, and print."""
    what, named, *rows = sys.argv[1:]
    device, *_ = open_devices(named)
    sys.stdout.write(json.dumps({"device": device.name, **MEASURES[what](device, [int(n) for n in rows])}) + "\n")


if __name__ == "__main__":
    main()
