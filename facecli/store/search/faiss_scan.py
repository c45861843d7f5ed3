"""Scan the vector file with FAISS on all processors: after a first pass over short codes where that may be."""

from __future__ import annotations

import time

from facecli.errors import IndexDamaged
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.sets import SetRow
from facecli.store.disk.filesystem import is_network
from facecli.store.search.backends import FEW, MANY, FileScan
from facecli.store.search.first_pass import SHORT_PART, FirstPass, PassBounds
from facecli.store.search.mapped import MappedCodes, MappedPart, in_threads, selecting
from facecli.store.search.ranking import Found, Wanted, join_best
from facecli.store.vector_file import StoredCodes, VectorsDamaged
from facecli.types import FloatArray

_PART, _MOST_PARTS = 1 << 15, 64
_MOST_LAG = 0.1
"""The share of the slots that the compact file may lack where it is used."""
_MANY_FOR_PASS = 128
"""The number of queries from which products of blocks with all of them are faster than a first pass for each."""
_TRIES = 3


class FaissScan(FileScan):
    """Scan the vector file with FAISS, which maps it into memory; with numpy where that is not possible.

    A file that another machine can truncate is not mapped.
    """

    def __init__(self, catalogue: Catalogue, row: SetRow, codes: StoredCodes) -> None:
        super().__init__(catalogue, row, codes)
        self._may_map = not is_network(row.file.directory)
        self._mapped: MappedCodes | None = None
        self._first_pass: FirstPass | None = None
        self._looked = False

    def best(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        among = wanted.scope.among
        if among is not None and len(among) * FEW < self.total:
            return super().best(queries, count, wanted)
        found = self._pass_first(queries, count, wanted)
        rest = [number for number, one in enumerate(found) if one is None]
        every = iter(self._compare_all(queries[rest], count, wanted) if rest else [])
        return [next(every) if one is None else one for one in found]

    def _compare_all(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        """Compare the queries, float32 (q, d), with all codes."""
        if len(queries) >= MANY or count * FEW > self.total or not self._map() or self._mapped is None:
            return super().best(queries, count, wanted)
        self._mapped.check()
        held = self.held(wanted.scope.among)
        chosen = None if held.all() else held

        def search(part: MappedPart) -> list[Found]:
            most = min(count, part.index.ntotal)
            rough, places = part.index.search(queries, most, **selecting(chosen, part))
            return [(row[row >= 0] + part.first, some[row >= 0]) for row, some in zip(places, rough, strict=True)]

        parts = in_threads(search, self._mapped.parts)
        return [join_best([part[number] for part in parts], count) for number in range(len(queries))]

    def _pass_first(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found | None]:
        """What a first pass finds for each query; None where it may not or cannot be made."""
        error, minimum = wanted.scope.first_pass, wanted.minimum
        may = error is not None and minimum is not None and minimum > error and len(queries) < _MANY_FOR_PASS
        if not may or not self._map() or self._short() is None:
            return [None] * len(queries)
        assert error is not None
        assert minimum is not None
        assert self._first_pass is not None
        among = wanted.scope.among
        bounds = PassBounds(minimum, error, count if wanted.top else 0, None if among is None else self.held(among))
        try:
            found = self._first_pass.best(queries, bounds)
        except VectorsDamaged:
            self._first_pass = None
            return [None] * len(queries)
        self.used_first_pass |= any(one is not None for one in found)
        return found

    def _map(self) -> bool:
        """Map the vector file; whether that is possible."""
        if self._mapped is None and self._may_map:
            self._mapped = _mapped(self._codes, max(_PART, -(-self.total // _MOST_PARTS)))
            self._may_map = self._mapped is not None
        return self._may_map

    def _short(self) -> FirstPass | None:
        """The first pass, where there is a compact file that holds nearly all slots."""
        if self._looked or self._mapped is None:
            return self._first_pass
        self._looked = True
        for _ in range(_TRIES):
            try:
                stored = self._row.file.compact.read(self.total)
            except FileNotFoundError:
                return None
            except (IndexDamaged, OSError):
                time.sleep(0.01)  # It may just be extended.
                continue
            short = _mapped(stored, SHORT_PART) if len(stored) >= (1 - _MOST_LAG) * self.total else None
            self._first_pass = None if short is None else FirstPass(short, self._mapped)
            break
        return self._first_pass


def _mapped(stored: StoredCodes, part: int) -> MappedCodes | None:
    """The codes of an open file, mapped; None where that is not possible."""
    for _ in range(_TRIES):
        try:
            return MappedCodes(stored, part)
        except (IndexDamaged, OSError, RuntimeError):
            time.sleep(0.01)  # It may just be extended.
    return None
