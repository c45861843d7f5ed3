"""Keep the best others of many rows while pairs come in, in bounded memory."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.similarity.codes import RowNumbers
from facecli.types import FloatArray

NOTHING = np.float32(-2.0)
"""Lower than every cosine."""
_LEAST_PENDING, _MOST_PENDING = 1 << 16, 1 << 22


class Pairs(Struct, frozen=True, eq=False):
    """Pairs of a row and another, with their similarities."""

    rows: RowNumbers
    others: RowNumbers
    similarities: FloatArray

    def where(self, chosen: NDArray[np.bool_] | RowNumbers) -> Pairs:
        """Some of the pairs, by a mask or by their numbers."""
        return Pairs(self.rows[chosen], self.others[chosen], self.similarities[chosen])


class Best:
    """The `count` best others of each row, by falling similarity, then by number."""

    def __init__(self, rows: int, count: int, least: float = float(NOTHING)) -> None:
        self.count = count
        self.floors = np.full(rows, least, np.float32)
        """The least similarity at which a pair of each row may count; it rises."""
        self._held = joined([])
        self._pending: list[Pairs] = []
        self._waiting = 0
        self._most = min(max(rows * count, _LEAST_PENDING), _MOST_PENDING)

    def add(self, pairs: Pairs) -> None:
        """Add pairs that were not added before; those below the floors are left out."""
        good = pairs.where(pairs.similarities >= self.floors[pairs.rows])
        self._pending.append(good)
        self._waiting += len(good.rows)
        if self._waiting >= self._most:
            self._settle()

    def pairs(self) -> Pairs:
        """The best so far, by row, then as above."""
        self._settle()
        return self._held

    def _settle(self) -> None:
        pairs = joined([self._held, *self._pending])
        pairs = pairs.where(np.lexsort((pairs.others, -pairs.similarities, pairs.rows)))
        starts = np.searchsorted(pairs.rows, np.arange(len(self.floors)))
        places = np.arange(len(pairs.rows)) - starts[pairs.rows]
        last = places == self.count - 1
        self.floors[pairs.rows[last]] = pairs.similarities[last]
        self._held, self._pending, self._waiting = pairs.where(places < self.count), [], 0


def joined(parts: list[Pairs]) -> Pairs:
    """All pairs of several lists, in their order."""
    none = np.zeros(0, np.int64)
    return Pairs(
        np.concatenate([none, *(p.rows for p in parts)]),
        np.concatenate([none, *(p.others for p in parts)]),
        np.concatenate([np.zeros(0, np.float32), *(p.similarities for p in parts)]),
    )
