"""Run each size of batch once before it is used: a device tunes itself for a shape, and shows what its memory holds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence

import numpy as np

from facecli.errors import DeviceError, DeviceFull
from facecli.vision.serving.io_binding import BoundSession
from facecli.vision.serving.pooling import Member

Shapes = Sequence[tuple[int, ...]]
CLOSING_SECONDS = 60.0
"""A run that is being tuned cannot be broken off, and a process must not end under it."""


class Warming(threading.Thread):
    """Lets the networks of one device grow into their batches, beside the work: from one row on, doubled where a batch was full.

    So no network takes memory that it has no use for, in which another could not run at all, and a short run waits for
    nothing. Where the memory ends, a network stays at the size before, without a word: nothing was asked for that it
    could not do.
    """

    def __init__(self, networks: Sequence[tuple[Member, Shapes]]) -> None:
        """Warm up members of one device, each with the shapes of its rows, the largest first; they take one row at a time from now on."""
        super().__init__(name=f"warming-{networks[0][0].name}", daemon=True)
        self._networks = networks
        self._changed = threading.Condition()
        self._wishes: dict[Member, int] = {}
        """Members, and how much each took when its batch was full."""
        self._over = False
        for member, _ in networks:
            member.begin_small(self._wish)

    def run(self) -> None:
        # Whatever else goes wrong here goes wrong in the work too, where it is told.
        with contextlib.suppress(Exception):
            for member, shapes in self._networks:
                self._grow(member, shapes, member.sizes[0])
            while (wish := self._next()) is not None:
                member, most = wish
                larger = [size for size in member.sizes if size > most]
                if larger and member.most == most and not member.full:
                    self._grow(member, next(shapes for known, shapes in self._networks if known is member), larger[0])

    def close(self) -> None:
        """Take no more wishes, and wait for what is being run."""
        with self._changed:
            self._over = True
            self._changed.notify()
        if self.is_alive():
            self.join(CLOSING_SECONDS)

    def _wish(self, member: Member) -> None:
        """Hear that a member's batch was full."""
        with self._changed:
            self._wishes.setdefault(member, member.most)
            self._changed.notify()

    def _next(self) -> tuple[Member, int] | None:
        """Wait for the next wish; None once it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._wishes or self._over)
            return None if self._over else self._wishes.popitem()

    def _grow(self, member: Member, shapes: Shapes, size: int) -> None:
        if size > member.sizes[0] and isinstance(member.session, BoundSession):
            # Where an arena cannot shrink, the batch takes more memory and is the same.
            with contextlib.suppress(DeviceError):
                member.session.give_back_memory(shapes[0])
        try:
            for shape in shapes:
                if not self._over:
                    member.session.run(np.zeros((size, *shape), np.float32))
        except DeviceFull:
            member.full = True
        else:
            member.take_more(size)
