"""A limit on the memory that all workers together use for files and pixels."""

from __future__ import annotations

import threading
from collections import deque

from facecli.system import usable_memory

MOST = 2_000_000_000


class NoRoom(Exception):
    """A batch has no memory left for one more photo."""


class PixelBudget:
    """Bytes that all workers together may hold: a quarter in files, the rest in pixels.

    A worker takes from `files` before it reads and from `pixels` before it decodes, always in this order, and holds
    both until it is done with the photo. A worker that holds pixels waits for nothing, so there is no deadlock.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.files = Share(max(1, total // 4))
        self.pixels = Share(max(1, total - total // 4))

    @property
    def waiting(self) -> int:
        """The number of threads that wait now."""
        return self.files.waiting + self.pixels.waiting


class Share:
    """Bytes that are taken and given back; thread-safe.

    A request for more than the total gets the total, and so runs alone. Requests are served in the order in which they
    came, so small photos do not delay a large one for ever. A thread must not take again while it holds bytes.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """The number of threads that wait now."""
        with self._changed:
            return len(self._queue)

    def take(self, size: int) -> int:
        """Wait until `size` bytes are free and take them; returns the number taken, to pass to `give`."""
        size = min(size, self.total)
        ticket = object()
        with self._changed:
            self._queue.append(ticket)
            try:
                self._changed.wait_for(lambda: self._queue[0] is ticket and self._free >= size)
                self._free -= size
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        return size

    def give(self, size: int) -> None:
        """Give back the number of bytes that `take` returned."""
        with self._changed:
            self._free += size
            self._changed.notify_all()


def default_budget() -> PixelBudget:
    """A budget of 2 GB or a quarter of the memory that this process may use, whichever is smaller."""
    return PixelBudget(min(MOST, usable_memory() // 4))
