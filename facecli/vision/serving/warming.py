"""Run each batch size once before it is used: the device tunes itself for its shape and shows whether it fits."""

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
"""Seconds to wait for a tuning run: it cannot be interrupted, and the process must not end during it."""


class Warming(threading.Thread):
    """Increases the batch sizes of a device's networks in parallel with the work.

    They start with one row and are doubled after a full batch.
    """

    def __init__(self, networks: Sequence[tuple[Member, Shapes]]) -> None:
        """Warm up the members of one device, each with its row shapes, the largest first; they start with one row."""
        super().__init__(name=f"warming-{networks[0][0].name}", daemon=True)
        self._networks = networks
        self._changed = threading.Condition()
        self._wishes: dict[Member, int] = {}
        """Members whose batch was full, with their batch size then."""
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
        """Stop, and wait for the present run."""
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
