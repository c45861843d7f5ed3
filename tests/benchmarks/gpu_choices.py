"""Print the choices of facecli on a device before its first batch, as one JSON object.

Usage: `python gpu_choices.py DEVICE [BATCH_SIZE]`.

This is a separate process, so that it leaves nothing on the GPU while others are measured.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from facecli.vision.serving.pooled import PooledModels, Pooling, open_models_on

from facecli.config import DetectionOptions, Precision
from facecli.reporting import SilentReporter
from facecli.vision.devices.select import find_devices
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
    models = open_models_on(find_pack(None), devices, DetectionOptions(), Precision.EXACT, Pooling(heard, batch_size))
    found = []
    for number, device in enumerate(devices):
        record: dict[str, Any] = {"device": device.name}
        gpu = gpus.get(device.name)
        if gpu is not None:
            record |= {"name": gpu.name, "memory_free": gpu.memory_free, "memory_total": gpu.memory_total}
        if isinstance(models, PooledModels):
            members = {stage: session.members[number] for stage, session in models.pool.sessions.items()}
            record["precision"] = {
                "detect": "single",
                "embed": "half" if device.name in models.pool.in_half else "single",
            }
            record["largest_batches"] = {
                stage: member.sizes[-1] if member.sizes else member.most for stage, member in members.items()
            }
        found.append(record)
    models.close()
    sys.stdout.write(json.dumps({"devices": found, "said": heard.details}) + "\n")


if __name__ == "__main__":
    main()
