"""Ask NVIDIA's driver, and nothing else of CUDA, what it has: quick, and it tells the reasons apart."""

from __future__ import annotations

import ctypes
from typing import Any

from msgspec import Struct

DRIVER = "libcuda.so.1"
GPU_KINDS = ("cuda", "tensorrt")
"""The kinds of device that are GPUs of this driver, with its numbers."""
NAME_BYTES = 256
TROUBLES = {
    100: "NVIDIA's driver sees no GPU",
    802: "the GPU is not ready yet",
    803: "NVIDIA's driver and its kernel module are of different versions; restart the machine",
    804: "the driver is too old for the CUDA that is installed",
    999: "NVIDIA's driver does not answer; the devices /dev/nvidia* may be missing or closed to this user",
}
"""Results of cuInit, as cuda.h numbers them."""


class CudaDriver(Struct, frozen=True):
    """What the driver says."""

    gpus: int = 0
    version: int = 0
    """The newest CUDA that it serves: 13000 is 13.0."""
    trouble: str = ""
    """Why it has no GPU to offer; empty where it has."""

    @property
    def major(self) -> int:
        return self.version // 1000


class Gpu(Struct, frozen=True):
    """A GPU as the driver describes it."""

    number: int
    name: str
    memory_free: int
    """Bytes that nobody uses now, this process included."""
    memory_total: int
    """Bytes."""

    @property
    def memory(self) -> str:
        """The memory in words."""
        return f"{self.memory_free / 1e9:.1f} of {self.memory_total / 1e9:.1f} GB free"


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
        return CudaDriver(
            version=version.value, trouble=TROUBLES.get(result, f"NVIDIA's driver answers with error {result}")
        )
    return CudaDriver(gpus.value, version.value, "" if gpus.value else TROUBLES[100])


def enter_context(driver: Any, number: int) -> int:
    """Let this thread work in a GPU's primary context, which is that of ONNX Runtime; 0 if it does, else the driver's error.

    The context stays for as long as the process lives, as it does once ONNX Runtime has used the GPU.
    """
    device, context = ctypes.c_int(0), ctypes.c_void_p()
    failed: int = (
        driver.cuDeviceGet(ctypes.byref(device), number)
        or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        or driver.cuCtxSetCurrent(context)
    )
    return failed


def read_gpu(number: int) -> Gpu | None:
    """A GPU, and its memory as it is now; None where the driver does not tell."""
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
    """All GPUs that the driver offers this process and tells of."""
    found = (read_gpu(number) for number in range(read_driver().gpus))
    return tuple(gpu for gpu in found if gpu is not None)
