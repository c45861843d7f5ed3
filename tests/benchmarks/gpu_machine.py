"""Measure the load of NVIDIA's GPUs, and describe the machine."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import os
import platform
import statistics
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from facecli.vision.runtime.cuda import read_driver, read_gpus

PERIOD = 0.1
"""Seconds between two looks at the GPUs."""
NVML = "libnvidia-ml.so.1"
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


class Nvml:
    """NVIDIA's library of measurements, as far as it is used here; comes with the driver."""

    def __init__(self, library: Any) -> None:
        self._library = library
        count = ctypes.c_uint(0)
        if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            raise OSError(f"{NVML} does not answer")
        self._gpus = [ctypes.c_void_p() for _ in range(count.value)]
        for number, gpu in enumerate(self._gpus):
            library.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(gpu))

    def look(self) -> Iterator[tuple[int, int]]:
        """Of each GPU that tells it, the percentage of the last moments in which any kernel ran, and the MB in use."""
        for gpu in self._gpus:
            load, memory = (ctypes.c_uint * 2)(), (ctypes.c_ulonglong * 3)()  # gpu, memory; total, free, used
            load_failed = self._library.nvmlDeviceGetUtilizationRates(gpu, ctypes.byref(load))
            if not load_failed and not self._library.nvmlDeviceGetMemoryInfo(gpu, ctypes.byref(memory)):
                yield load[0], memory[2] >> 20


def load_nvml() -> Nvml | None:
    """The library; None where there is no driver, or it does not answer."""
    try:
        return Nvml(ctypes.CDLL(NVML))
    except OSError:
        return None


@dataclass
class Watch:
    """The load of the GPUs during a measurement."""

    busy_percent: list[int] = field(default_factory=list)
    memory_mb: list[int] = field(default_factory=list)

    def record(self) -> dict[str, float]:
        """Empty if nothing was seen."""
        if not self.busy_percent:
            return {}
        # The first and last tenth are the start and the end of the process, in which the GPU waits.
        cut = len(self.busy_percent) // 10
        middle = self.busy_percent[cut : len(self.busy_percent) - cut]
        return {
            "gpu_busy_percent": round(statistics.fmean(middle), 1),
            "gpu_peak_memory_mb": max(self.memory_mb),
            "samples": len(middle),
        }


@contextlib.contextmanager
def watched(nvml: Nvml | None) -> Iterator[Watch]:
    """Watch the GPUs while the block runs."""
    seen, over = Watch(), threading.Event()

    def look() -> None:
        while nvml is not None and not over.wait(PERIOD):
            for busy, memory in nvml.look():
                seen.busy_percent.append(busy)
                seen.memory_mb.append(memory)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def machine() -> dict[str, object]:
    """The machine, and the versions of the measured software."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "commit": _commit(),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "gpus": [f"{gpu.name}, {gpu.memory}" for gpu in read_gpus()],
        "driver": read_driver().trouble or f"CUDA {read_driver().version / 1000:.1f}",
        "python": platform.python_version(),
        "packages": versions,
    }


def _commit() -> str:
    """The commit of the checkout; empty where git does not tell."""
    with contextlib.suppress(OSError):
        command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"]
        return subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip()
    return ""


def _processor() -> str:
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as file:
        return next(
            (line.partition(":")[2].strip() for line in file if line.startswith("model name")), platform.machine()
        )
    return platform.machine()
