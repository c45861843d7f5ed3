"""A fake NVIDIA driver: page-locked memory is ordinary memory, and GPUs have as much memory as a test sets."""

from __future__ import annotations

import ctypes
from typing import Any

from facecli.vision.runtime import pinned_memory

GB = 1_000_000_000
NO_CONTEXT = 201


class MadeUpDriver:
    """The functions of NVIDIA's driver that facecli calls, under their own names."""

    def __init__(
        self, *, gpus: int = 1, free: int = 20 * GB, total: int = 24 * GB, full: bool = False, broken: bool = False
    ) -> None:
        """Offer `gpus` GPUs of the given bytes; with `full` no page-locked memory is left, with `broken` no context."""
        self.blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.entered: list[int | None] = []
        self.gpus, self.free, self.total, self.full, self.broken = gpus, free, total, full, broken

    def cuInit(self, flags: int) -> int:  # noqa: N802 (the driver's name)
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802 (as above)
        version._obj.value = 13000
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802 (as above)
        count._obj.value = self.gpus
        return 0

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802 (as above)
        device._obj.value = 70 + number
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: ctypes.c_int) -> int:  # noqa: N802 (as above)
        name.value = f"Made-up {device.value}".encode()[: length - 1]
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: ctypes.c_int) -> int:  # noqa: N802 (as above)
        context._obj.value = device.value
        return NO_CONTEXT if self.broken else 0

    def cuCtxSetCurrent(self, context: ctypes.c_void_p) -> int:  # noqa: N802 (as above)
        self.entered.append(context.value)
        return 0

    def cuMemGetInfo_v2(self, free: Any, total: Any) -> int:  # noqa: N802 (as above)
        free._obj.value, total._obj.value = self.free, self.total
        return 0

    def cuMemHostAlloc(self, address: Any, size: ctypes.c_size_t, flags: int) -> int:  # noqa: N802 (as above)
        if self.full or flags != pinned_memory.PORTABLE:
            return 2
        block = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(block)
        self.blocks[ctypes.addressof(block)] = block
        return 0

    def cuMemFreeHost(self, address: ctypes.c_void_p) -> int:  # noqa: N802 (as above)
        assert address.value is not None
        del self.blocks[address.value]
        return 0
