"""Print the choices of facecli on a device before its first batch, as one JSON object.

Usage: `python gpu_choices.py DEVICE [BATCH_SIZE]`.

This is a separate process, so that it leaves nothing on the GPU while others are measured.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from facecli.config import DetectionOptions
from facecli.reporting import SilentReporter
from facecli.vision.devices.select import find_devices
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime.cuda import GPU_KINDS, read_gpu


class Heard(SilentReporter):
    """Collects the lines that --verbose would show."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def detail(self, message: str) -> None:
        self.details.append(message)


def main() -> None:
    """Open the default pack and print the choices."""
    named, batch_size = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 64
    devices, heard = find_devices(named), Heard()
    gpus = {device.name: read_gpu(device.number) for device in devices if device.kind in GPU_KINDS}
    found = []
    for device in devices:
        models = open_served(find_pack(None), device, Needs(DetectionOptions()), Serving(batch_size), heard)
        record: dict[str, Any] = {"device": device.name}
        gpu = gpus.get(device.name)
        if gpu is not None:
            record |= {"name": gpu.name, "memory_free": gpu.memory_free, "memory_total": gpu.memory_total}
        record["precision"] = {"detect": "single", "embed": "half" if models.half else "single"}
        record["largest_batches"] = {"detect": models.detector.batches.most, "embed": models.embedder.batches.most}
        record["pixels"] = models.detector.batches.session.input.pixels
        found.append(record)
    sys.stdout.write(json.dumps({"devices": found, "said": heard.details}) + "\n")


if __name__ == "__main__":
    main()
