"""The photos that wait for a worker, in the order of the run, and the chunks that came back undone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct, field

Task = TypeVar("Task")
Outcome = TypeVar("Outcome")

LINGER_SECONDS = 0.02
"""How long an idle worker waits for its chunk to fill up."""
MOST_DEATHS = 3
"""The workers that may die on a photo before it is given up."""


class Slot(Struct, Generic[Task, Outcome], eq=False):
    """A photo in the order of the run."""

    task: Task
    outcome: Outcome | None = None


class Portion(Struct, Generic[Task, Outcome], eq=False):
    """A chunk with its history."""

    number: int
    slots: list[Slot[Task, Outcome]]
    force: bool = False
    deaths: int = 0
    """The workers that died with it in hand; after one it is done alone on a worker, or innocents were blamed."""
    isolated: bool = False
    """Whether its photos are decoded in a process of their own."""
    doubter: int = -1
    """The worker whose answer was refused, once, because the driver sees a photo that it does not see."""
    holders: set[int] = field(default_factory=set)
    """The workers that have it; two where it was overdue."""
    since: float = 0.0
    """When it was handed out."""


class Backlog(Generic[Task, Outcome]):
    """Chunks for the workers; cut to their size only when a worker asks."""

    def __init__(self, give_up: Callable[[Task, str], Outcome], *, force: bool) -> None:
        self._give_up, self._force = give_up, force
        self._queue: deque[Slot[Task, Outcome]] = deque()
        self._returned: list[Portion[Task, Outcome]] = []
        self._since = 0.0
        self._number = 0
        self.ended = False
        """Whether no more photos will come."""

    def __bool__(self) -> bool:
        return bool(self._queue or self._returned)

    def add(self, slot: Slot[Task, Outcome]) -> None:
        """Add the next photo of the run."""
        if not self._queue:
            self._since = time.monotonic()
        self._queue.append(slot)

    def add_first(self, slot: Slot[Task, Outcome]) -> None:
        """Add a photo that is done before all others, even if the index has its content."""
        self._returned.insert(0, self._portion([slot], force=True))

    def clear(self) -> None:
        """Forget all that waits."""
        self._queue.clear()
        self._returned.clear()

    def returned(self, worker: int, *, to_idle: bool) -> Portion[Task, Outcome] | None:
        """A chunk that came back and that `worker` may have, the earliest first, since the run waits for it."""
        for place, portion in enumerate(self._returned):
            if (to_idle or not portion.deaths) and (portion.doubter < 0 or portion.doubter != worker):
                return self._returned.pop(place)
        return None

    def cut(self, size: int, *, to_idle: bool) -> Portion[Task, Outcome] | None:
        """A new chunk of `size` photos; of fewer only for an idle worker that has waited, or at the end of the run."""
        is_due = self.ended or (to_idle and time.monotonic() - self._since >= LINGER_SECONDS)
        if not self._queue or (len(self._queue) < size and not is_due):
            return None
        slots = [self._queue.popleft() for _ in range(min(size, len(self._queue)))]
        self._since = time.monotonic()
        return self._portion(slots, force=self._force)

    def share(self, size: int, least: int, parts: int) -> int:
        """A chunk's size; at the end of the run less, so that all workers end at about the same time."""
        return min(size, max(least, -(-len(self._queue) // parts))) if self.ended else size

    def put_back(self, portion: Portion[Task, Outcome], why: str, *, died: bool) -> None:
        """Take back a chunk; if workers died, first once more whole, then in halves, until one photo is at fault."""
        portion.holders.clear()
        portion.deaths += died
        if not died or portion.deaths == 1:
            parts = [portion]
        elif len(portion.slots) > 1:
            half = len(portion.slots) // 2
            parts = [self._half(portion, portion.slots[:half]), self._half(portion, portion.slots[half:])]
        elif portion.deaths < MOST_DEATHS:
            portion.isolated = True
            parts = [portion]
        else:
            parts = []
            portion.slots[0].outcome = self._give_up(portion.slots[0].task, why)
        self._returned = sorted((*self._returned, *parts), key=lambda portion: portion.number)

    def _half(self, portion: Portion[Task, Outcome], slots: list[Slot[Task, Outcome]]) -> Portion[Task, Outcome]:
        half = self._portion(slots, force=portion.force)
        half.deaths, half.isolated = 1, True
        return half

    def _portion(self, slots: list[Slot[Task, Outcome]], *, force: bool) -> Portion[Task, Outcome]:
        self._number += 1
        return Portion(self._number, slots, force)
