"""How much memory all workers together may hold in files and pixels."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator

MOST = 2_000_000_000
_CGROUP = "/sys/fs/cgroup"


class PixelBudget:
    """Bytes that all workers together may hold: a quarter of them in files, the rest in pixels.

    A worker takes of `files` before it reads and of `pixels` before it decodes, always in this order, and holds both until it is done with
    the photo. Whoever holds pixels waits for nobody, so that no two can wait for each other.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.files = Share(max(1, total // 4))
        self.pixels = Share(max(1, total - total // 4))

    @property
    def waiting(self) -> int:
        """How many are waiting now; a stage that collects photos before it goes on must not wait for more while anybody does."""
        return self.files.waiting + self.pixels.waiting


class Share:
    """Bytes that are taken and given back; thread-safe.

    Whoever asks for more than there is in all gets the whole, and so runs alone. Requests are served in the order they came, so a
    large photo isn't passed by small ones for ever. Nobody may take while holding.
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
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return PixelBudget(min(MOST, *(limit // 4 for limit in (memory, *_cgroup_limits()))))


def _cgroup_limits() -> Iterator[int]:
    """The memory limits of the control groups above this process, of version 2 and 1."""
    try:
        with open("/proc/self/cgroup", encoding="ascii", errors="replace") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return
    for _, controllers, group in (g for g in groups if len(g) == 3):
        if controllers == "":
            yield from _limits_above(_CGROUP, group, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_above(f"{_CGROUP}/memory", group, "memory.limit_in_bytes")


def _limits_above(mount: str, group: str, name: str) -> Iterator[int]:
    parts = [p for p in group.split("/") if p not in ("", "..")]
    for depth in range(len(parts) + 1):
        try:
            with open("/".join((mount, *parts[:depth], name)), encoding="ascii") as file:
                yield int(file.read())
        except (OSError, ValueError):  # no such group seen from inside a container, or "max"
            continue
