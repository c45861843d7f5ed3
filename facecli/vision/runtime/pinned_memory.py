"""Page-locked host memory, which a GPU reads without an intermediate copy, in parallel with other work."""

from __future__ import annotations

import ctypes
import math
import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.vision.runtime.batches import Blank
from facecli.vision.runtime.cuda import GPU_KINDS, enter_context, load_driver
from facecli.vision.runtime.providers import Device

PORTABLE = 1
"""The memory is page-locked for every device, not only for the one that it was allocated with."""


def blank_for(device: Device) -> Blank:
    """The function that allocates buffers for a device's batches."""
    if device.kind not in GPU_KINDS:
        return np.empty
    driver = load_driver()
    return np.empty if driver is None else PageLocked(driver, device.number)


class PageLocked:
    """Allocates arrays in page-locked memory, freed with their last view; in ordinary memory if the driver has none."""

    def __init__(self, driver: Any, number: int) -> None:
        self._driver, self._number = driver, number

    def __call__(self, shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        size = math.prod(shape) * kind.itemsize
        address = self._allocate(size)
        if address is None:
            return np.empty(shape, kind)
        block = (ctypes.c_byte * size).from_address(address)
        # At the end of the process a thread may still fill a batch there, and the driver takes everything back.
        weakref.finalize(block, self._free, address).atexit = False
        return np.ndarray(shape, kind, buffer=memoryview(block))

    def _allocate(self, size: int) -> int | None:
        """The address of a new block; None where there is none."""
        address = ctypes.c_void_p()
        failed = enter_context(self._driver, self._number) or self._driver.cuMemHostAlloc(
            ctypes.byref(address), ctypes.c_size_t(size), PORTABLE
        )
        return None if failed else address.value

    def _free(self, address: int) -> None:
        enter_context(self._driver, self._number)
        self._driver.cuMemFreeHost(ctypes.c_void_p(address))
