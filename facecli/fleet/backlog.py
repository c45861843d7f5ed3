"""The photos that wait for a worker, in the order of the run, and the chunks that came back undone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct, field

TaskType = TypeVar("TaskType")
OutcomeType = TypeVar("OutcomeType")

LINGER_SECONDS = 0.02
"""How long an idle worker waits for its chunk to fill up."""
MOST_DEATHS = 3
"""The workers that may die on a photo before it is given up."""


class Slot(Struct, Generic[TaskType, OutcomeType], eq=False):
    """A photo in the order of the run."""

    task: TaskType
    outcome: OutcomeType | None = None


class Parcel(Struct, Generic[TaskType, OutcomeType], eq=False):
    """A chunk with its history."""

    number: int
    slots: list[Slot[TaskType, OutcomeType]]
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


class Backlog(Generic[TaskType, OutcomeType]):
    """Chunks for the workers; cut to their size only when a worker asks."""

    def __init__(self, give_up: Callable[[TaskType, str], OutcomeType], *, force: bool) -> None:
        self._give_up, self._force = give_up, force
        self._queue: deque[Slot[TaskType, OutcomeType]] = deque()
        self._returned: list[Parcel[TaskType, OutcomeType]] = []
        self._since = 0.0
        self._number = 0
        self.ended = False
        """Whether no more photos will come."""

    def __bool__(self) -> bool:
        return bool(self._queue or self._returned)

    def add(self, slot: Slot[TaskType, OutcomeType]) -> None:
        """Add the next photo of the run."""
        if not self._queue:
            self._since = time.monotonic()
        self._queue.append(slot)

    def add_first(self, slot: Slot[TaskType, OutcomeType]) -> None:
        """Add a photo that is done before all others, even if the index has its content."""
        self._returned.insert(0, self._parcel([slot], force=True))

    def clear(self) -> None:
        """Forget all that waits."""
        self._queue.clear()
        self._returned.clear()

    def returned(self, worker: int, *, to_idle: bool) -> Parcel[TaskType, OutcomeType] | None:
        """A chunk that came back and that `worker` may have, the earliest first, since the run waits for it."""
        for place, parcel in enumerate(self._returned):
            if (to_idle or not parcel.deaths) and (parcel.doubter < 0 or parcel.doubter != worker):
                return self._returned.pop(place)
        return None

    def cut(self, size: int, *, to_idle: bool) -> Parcel[TaskType, OutcomeType] | None:
        """A new chunk of `size` photos; of fewer only for an idle worker that has waited, or at the end of the run."""
        is_due = self.ended or (to_idle and time.monotonic() - self._since >= LINGER_SECONDS)
        if not self._queue or (len(self._queue) < size and not is_due):
            return None
        slots = [self._queue.popleft() for _ in range(min(size, len(self._queue)))]
        self._since = time.monotonic()
        return self._parcel(slots, force=self._force)

    def share(self, size: int, least: int, parts: int) -> int:
        """A chunk's size; at the end of the run less, so that all workers end at about the same time."""
        return min(size, max(least, -(-len(self._queue) // parts))) if self.ended else size

    def put_back(self, parcel: Parcel[TaskType, OutcomeType], why: str, *, died: bool) -> None:
        """Take back a chunk; if workers died, first once more whole, then in halves, until one photo is at fault."""
        parcel.holders.clear()
        parcel.deaths += died
        if not died or parcel.deaths == 1:
            parts = [parcel]
        elif len(parcel.slots) > 1:
            half = len(parcel.slots) // 2
            parts = [self._half(parcel, parcel.slots[:half]), self._half(parcel, parcel.slots[half:])]
        elif parcel.deaths < MOST_DEATHS:
            parcel.isolated = True
            parts = [parcel]
        else:
            parts = []
            parcel.slots[0].outcome = self._give_up(parcel.slots[0].task, why)
        self._returned = sorted((*self._returned, *parts), key=lambda parcel: parcel.number)

    def _half(
        self, parcel: Parcel[TaskType, OutcomeType], slots: list[Slot[TaskType, OutcomeType]]
    ) -> Parcel[TaskType, OutcomeType]:
        half = self._parcel(slots, force=parcel.force)
        half.deaths, half.isolated = 1, True
        return half

    def _parcel(self, slots: list[Slot[TaskType, OutcomeType]], *, force: bool) -> Parcel[TaskType, OutcomeType]:
        self._number += 1
        return Parcel(self._number, slots, force)
