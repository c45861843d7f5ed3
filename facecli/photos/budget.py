"""How much memory all workers together may hold in files and pixels."""

from __future__ import annotations

import threading
from collections import deque

from facecli.system import usable_memory

MOST = 2_000_000_000


class PixelBudget:
    """Bytes that all workers together may hold: a quarter of them in files, the rest in pixels.

    A worker takes of `files` before it reads and of `pixels` before it decodes, always in this order, and holds both
    until it is done with the photo. Whoever holds pixels waits for nobody, so that no two can wait for each other.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.files = Share(max(1, total // 4))
        self.pixels = Share(max(1, total - total // 4))

    @property
    def waiting(self) -> int:
        """How many are waiting now.

        A stage that collects photos must not wait for more while anybody waits here.
        """
        return self.files.waiting + self.pixels.waiting


class Share:
    """Bytes that are taken and given back; thread-safe.

    Whoever asks for more than there is in all gets the whole, and so runs alone. Requests are served in the order they
    came, so a large photo isn't passed by small ones for ever. Nobody may take while holding.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self._free = total
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """How many are waiting now."""
        with self._changed:
            return len(self._queue)

    def take(self, size: int) -> int:
        """Wait until `size` bytes are free and take them; gives what was taken, for `give`."""
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
        """Give back what `take` gave."""
        with self._changed:
            self._free += size
            self._changed.notify_all()


def default_budget() -> PixelBudget:
    """The lesser of 2 GB and a quarter of the memory that this process may use."""
    return PixelBudget(min(MOST, usable_memory() // 4))
