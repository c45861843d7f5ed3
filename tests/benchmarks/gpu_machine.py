"""Measure the load of the GPUs and describe the machine, with nvidia-smi."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

PERIOD_MS = 100
PACKAGES = (
    "onnxruntime-gpu",
    "onnxruntime",
    "faiss-gpu",
    "faiss-cpu",
    "insightface",
    "opencv-python-headless",
    "simplejpeg",
    "numpy",
)


@dataclass
class Watch:
    """The load of the GPUs during a measurement."""

    busy_percent: list[int] = field(default_factory=list)
    """The driver's utilisation for each GPU and sample: the share of time in which any kernel ran."""
    memory_mb: list[int] = field(default_factory=list)

    def record(self) -> dict[str, float]:
        """Empty if there is no GPU."""
        if not self.busy_percent:
            return {}
        # The first and last tenth are the start and the end of the process, in which the GPU waits.
        cut = len(self.busy_percent) // 10
        middle = self.busy_percent[cut : len(self.busy_percent) - cut]
        return {
            "gpu_busy_percent": statistics.fmean(middle),
            "gpu_peak_memory_mb": max(self.memory_mb),
            "samples": len(middle),
        }


@contextlib.contextmanager
def watched() -> Iterator[Watch]:
    """Watch the GPUs while the block runs."""
    seen = Watch()
    if shutil.which("nvidia-smi") is None:
        yield seen
        return
    query = [
        "nvidia-smi",
        "--query-gpu=utilization.gpu,memory.used",
        "--format=csv,noheader,nounits",
        f"--loop-ms={PERIOD_MS}",
    ]
    with subprocess.Popen(query, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield seen
        finally:
            process.terminate()
            said, _ = process.communicate()
            for line in said.splitlines():
                with contextlib.suppress(ValueError):
                    busy, memory = (int(part) for part in line.split(","))
                    seen.busy_percent.append(busy)
                    seen.memory_mb.append(memory)


def machine() -> dict[str, object]:
    """The machine and the versions of the measured software."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    gpus: list[str] = []
    if shutil.which("nvidia-smi") is not None:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        gpus = subprocess.run(query, check=False, capture_output=True, text=True).stdout.splitlines()
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "gpus": gpus,
        "python": platform.python_version(),
        "packages": versions,
    }


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        return next(
            (line.partition(":")[2].strip() for line in file if line.startswith("model name")), platform.machine()
        )
    return platform.machine()
