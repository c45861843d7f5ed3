"""Print the choices of facecli on a device before its first batch, as one JSON object.

Usage: `python gpu_choices.py DEVICE [BATCH_SIZE]`.

This is a separate process, so that it leaves nothing on the GPU while others are measured.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from facecli.config import DetectionOptions
from facecli.reporting import SilentReporter
from facecli.vision.devices.select import Device, find_devices
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime.cuda import read_gpu


class Heard(SilentReporter):
    """Collects the lines that --verbose would show."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def detail(self, message: str) -> None:
        self.details.append(message)


def open_devices(named: str) -> tuple[Device, ...]:
    """The devices of a name; for `cpu` the processor takes a GPU's place in this process."""
    if named.startswith("cpu"):
        sys.path.append(str(Path(__file__).resolve().parent.parent))
        import stand_in

        stand_in.put_for_good()
    return find_devices(named.replace("cpu", "cuda"))


def open_default(device: Device, batch_size: int, heard: SilentReporter | None = None) -> FaceModels:
    """The default pack on a device, for batches."""
    return open_served(find_pack(None), device, Needs(DetectionOptions()), Serving(batch_size), heard)


def describe(device: Device, batch_size: int, heard: Heard) -> dict[str, Any]:
    """The choices for a device."""
    gpu = read_gpu(device.number)
    models = open_default(device, batch_size, heard)
    memory = {"memory_free": gpu.memory_free, "memory_total": gpu.memory_total} if gpu is not None else {}
    return {
        "device": device.name,
        "provider": models.provider,
        **memory,
        "precision": {"detect": "single", "embed": "half" if models.half else "single"},
        "largest_batches": {"detect": models.detector.batches.most, "embed": models.embedder.batches.most},
        "pixels": models.detector.batches.session.input.pixels,
    }


def main() -> None:
    """Open the default pack and print the choices."""
    named, batch_size = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 64
    devices, heard = open_devices(named), Heard()
    found = [describe(device, batch_size, heard) for device in devices]
    sys.stdout.write(json.dumps({"devices": found, "said": heard.details}) + "\n")


if __name__ == "__main__":
    main()
