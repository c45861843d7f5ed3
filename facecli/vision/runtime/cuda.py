"""Query NVIDIA's driver API only, without CUDA's runtime: fast, and with a precise reason if no GPU is usable."""

from __future__ import annotations

import ctypes
from typing import Any

from msgspec import Struct

DRIVER = "libcuda.so.1"
GPU_KINDS = ("cuda", "tensorrt")
"""The kinds of device that are GPUs of this driver and use its numbering."""
NAME_BYTES = 256
TROUBLES = {
    100: "NVIDIA's driver sees no GPU",
    802: "the GPU is not ready yet",
    803: "NVIDIA's driver and its kernel module are of different versions; restart the machine",
    804: "the driver is too old for the CUDA that is installed",
    999: "NVIDIA's driver does not answer; the devices /dev/nvidia* may be missing or closed to this user",
}
"""Results of cuInit, numbered as in cuda.h."""


class CudaDriver(Struct, frozen=True):
    """The driver's answer."""

    gpus: int = 0
    version: int = 0
    """The newest CUDA version that it supports: 13000 is 13.0."""
    trouble: str = ""
    """Why no GPU is usable; empty if one is."""

    @property
    def major(self) -> int:
        return self.version // 1000


class Gpu(Struct, frozen=True):
    """A GPU, as described by the driver."""

    number: int
    name: str
    memory_free: int
    """Bytes that no process uses, this one included."""
    memory_total: int
    """Bytes."""

    @property
    def memory(self) -> str:
        """Free and total memory, for messages."""
        return f"{self.memory_free / 1e9:.1f} of {self.memory_total / 1e9:.1f} GB free"


def load_driver() -> Any:
    """The driver's library; None if not installed."""
    try:
        return ctypes.CDLL(DRIVER)
    except OSError:
        return None


def read_driver() -> CudaDriver:
    """Count the GPUs visible to this process (respecting CUDA_VISIBLE_DEVICES), or give the reason for none."""
    library = load_driver()
    if library is None:
        return CudaDriver(trouble="NVIDIA's driver is not installed")
    version, gpus = ctypes.c_int(0), ctypes.c_int(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    result = library.cuInit(0) or library.cuDeviceGetCount(ctypes.byref(gpus))
    if result:
        return CudaDriver(
            version=version.value, trouble=TROUBLES.get(result, f"NVIDIA's driver answers with error {result}")
        )
    return CudaDriver(gpus.value, version.value, "" if gpus.value else TROUBLES[100])


def enter_context(driver: Any, number: int) -> int:
    """Make a GPU's primary context current in this thread; gives 0, or the driver's error code.

    ONNX Runtime uses the same context. It stays until the process ends, as it does after ONNX Runtime has used the GPU.
    """
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    failed: int = (
        driver.cuDeviceGet(ctypes.byref(device), number)
        or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        or driver.cuCtxSetCurrent(context)
    )
    return failed


def read_gpu(number: int) -> Gpu | None:
    """A GPU and its present memory use; None if the driver does not answer."""
    driver = load_driver()
    if driver is None:
        return None
    device, name = ctypes.c_int(0), ctypes.create_string_buffer(NAME_BYTES)
    free, total = ctypes.c_size_t(0), ctypes.c_size_t(0)
    failed = (
        driver.cuInit(0)
        or enter_context(driver, number)
        or driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        or driver.cuDeviceGet(ctypes.byref(device), number)
        or driver.cuDeviceGetName(name, NAME_BYTES, device)
    )
    return None if failed else Gpu(number, name.value.decode(errors="replace"), free.value, total.value)


def read_gpus() -> tuple[Gpu, ...]:
    """All GPUs visible to this process that the driver describes."""
    found = (read_gpu(number) for number in range(read_driver().gpus))
    return tuple(gpu for gpu in found if gpu is not None)
