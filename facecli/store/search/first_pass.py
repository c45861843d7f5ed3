"""A first pass over short codes, which leaves few faces to compare exactly where there is a threshold.

A short code estimates a similarity. How far below the true one an estimate lies was measured for a recogniser on many
matches: all faces whose estimate is that close to the threshold are compared with their embeddings. So every similarity
is exact, and a match is missed only where its estimate is worse than any that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.store.records import Labels
from facecli.store.search.mapped import MappedCodes, MappedPart, in_threads, selecting
from facecli.store.search.ranking import SLACK, Found, join_best, similarities
from facecli.types import FloatArray

SHORT_PART = 1 << 17
MOST_SHARE = 0.03
"""The share of the faces from which on comparing all of them is faster than comparing those that the pass leaves."""
_TAIL_STEP = 4096


class PassBounds(Struct, frozen=True, eq=False):
    """What a first pass looks for."""

    minimum: float
    error: float
    """By how much an estimate may lie below the similarity."""
    count: int
    """The most labels for each query; 0 for all."""
    held: NDArray[np.bool_] | None
    """The only slots to compare, bool (total,); None for all."""


class FirstPass:
    """A search of the vector file with the help of the compact file, which may hold fewer slots."""

    def __init__(self, short: MappedCodes, halves: MappedCodes) -> None:
        self._short, self._halves = short, halves
        self.total = len(halves.codes)

    def best(self, queries: FloatArray, bounds: PassBounds) -> list[Found | None]:
        """For each query, float32 (q, d), the labels that reach the minimum, by falling similarity.

        None for a query for which the pass leaves too many faces.
        """
        for mapped in (self._short, self._halves):
            mapped.check()
        work = _Work(self._halves, queries, bounds, np.zeros(len(queries), np.int64))
        tail = range(len(self._short.codes), self.total)
        items: list[MappedPart | range] = [*self._short.parts]
        items += [tail[i : i + _TAIL_STEP] for i in range(0, len(tail), _TAIL_STEP)]
        parts = in_threads(work.search, items)
        return [
            None if work.gave_up(number) else join_best([part[number] for part in parts], bounds.count)
            for number in range(len(queries))
        ]


class _Work(Struct, frozen=True, eq=False):
    """The search of single parts; many run at once."""

    halves: MappedCodes
    queries: FloatArray
    bounds: PassBounds
    left: Labels
    """How many faces the pass has left for each query so far, int64 (q,).

    Threads may lose a number of each other, which only delays giving up.
    """

    def gave_up(self, number: int) -> bool:
        return bool(self.left[number] > MOST_SHARE * len(self.halves.codes))

    def search(self, part: MappedPart | range) -> list[Found]:
        """What a part holds for each query; all of a range that the compact file does not hold is compared."""
        found: list[Found] = [_NOTHING] * len(self.queries)
        asked = [number for number in range(len(self.queries)) if not self.gave_up(number)]
        for number, slots in zip(asked, self._candidates(part, asked), strict=True):
            if isinstance(part, MappedPart):
                self.left[number] += len(slots)
            if len(slots) and not self.gave_up(number):
                found[number] = self._compare(slots, number)
        return found

    def _candidates(self, part: MappedPart | range, asked: Sequence[int]) -> list[Labels]:
        held = self.bounds.held
        if isinstance(part, range):
            slots = np.arange(part.start, part.stop)
            return [slots if held is None else slots[held[slots]]] * len(asked)
        if not asked:
            return []
        least = self.bounds.minimum - self.bounds.error
        limits, _, places = part.index.range_search(self.queries[asked], least, **selecting(held, part))
        return [places[limits[i] : limits[i + 1]] + part.first for i in range(len(asked))]

    def _compare(self, slots: Labels, number: int) -> Found:
        """Those of the slots whose similarity may reach the minimum."""
        slots = np.sort(slots)
        self.halves.stored.will_need(slots)
        query = self.queries[number : number + 1]
        rough = similarities(iter([(0, self.halves.codes[slots])]), query, len(slots))[0]
        good = rough >= self.bounds.minimum - SLACK
        return join_best([(slots[good], rough[good])], self.bounds.count)


_NOTHING: Found = (np.zeros(0, np.int64), np.zeros(0, np.float32))
