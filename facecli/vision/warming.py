"""Run each size of batch once before it is used: a device tunes itself for a shape, and shows what its memory holds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

import numpy as np

from facecli.errors import DeviceError, DeviceFull
from facecli.vision.pooling import Member

Shapes = Sequence[tuple[int, ...]]


class Warming(threading.Thread):
    """Lets one device grow into its batches, beside the work: from one row on, doubled as long as the memory holds.

    All networks of the device grow together, so that none takes the memory in which another could not run at all. Where the memory ends, a
    network stays at the size before, without a word: nothing was asked for that it could not do.
    """

    def __init__(self, networks: Sequence[tuple[Member, Shapes]], stopped: Callable[[], bool] = lambda: False) -> None:
        """Warm up members of one device, each with the shapes of its rows; they take one row at a time from now on."""
        super().__init__(name=f"warming-{networks[0][0].name}", daemon=True)
        self._networks, self._stopped = networks, stopped
        for member, _ in networks:
            member.begin_small()

    def run(self) -> None:
        # Whatever else goes wrong here goes wrong in the work too, where it is told.
        with contextlib.suppress(DeviceError):
            for size in sorted({size for member, _ in self._networks for size in member.sizes}):
                for member, shapes in self._networks:
                    self._grow(member, shapes, size)

    def _grow(self, member: Member, shapes: Shapes, size: int) -> None:
        if member.full or size not in member.sizes or self._stopped():
            return
        try:
            for shape in shapes:
                member.session.run(np.zeros((size, *shape), np.float32))
        except DeviceFull:
            member.full = True
        else:
            member.take_more(size)
