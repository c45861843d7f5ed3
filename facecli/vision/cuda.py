"""Ask NVIDIA's driver, and nothing else of CUDA, what it has: quick, and it tells the reasons apart."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

DRIVER = "libcuda.so.1"
TROUBLES = {
    100: "NVIDIA's driver sees no GPU",
    802: "the GPU is not ready yet",
    803: "NVIDIA's driver and its kernel module are of different versions; restart the machine",
    804: "the driver is too old for the CUDA that is installed",
    999: "NVIDIA's driver does not answer; the devices /dev/nvidia* may be missing or closed to this user",
}
"""Results of cuInit, as cuda.h numbers them."""


@dataclass(frozen=True, slots=True)
class CudaDriver:
    """What the driver says."""

    gpus: int = 0
    version: int = 0
    """The newest CUDA that it serves: 13000 is 13.0."""
    trouble: str = ""
    """Why it has no GPU to offer; empty where it has."""

    @property
    def major(self) -> int:
        return self.version // 1000


def load_driver() -> Any:
    """The driver's library; None where it is not installed."""
    try:
        return ctypes.CDLL(DRIVER)
    except OSError:
        return None


def read_driver() -> CudaDriver:
    """How many GPUs the driver offers this process (CUDA_VISIBLE_DEVICES counts), or why none."""
    library = load_driver()
    if library is None:
        return CudaDriver(trouble="NVIDIA's driver is not installed")
    version, gpus = ctypes.c_int(0), ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    result = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(gpus))
    if result:
        return CudaDriver(version=version.value, trouble=TROUBLES.get(result, f"NVIDIA's driver answers with error {result}"))
    return CudaDriver(gpus.value, version.value, "" if gpus.value else TROUBLES[100])
