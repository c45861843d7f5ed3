"""Rough products of a block of codes with a portion of vectors, and the few pairs of them that need a closer look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.similarity.codes import HalfArray, RowNumbers
from facecli.similarity.products import COARSE, FloatProducts, Products, Scaled, allowance
from facecli.types import FloatArray

_MANY = 4
"""Candidates, in multiples of what is wanted, from which on it pays to find out what the best of a block reach."""
_EVERY = 32
"""One of how many rows is looked at to count candidates."""
_CROWDED = 64
"""One of how many pairs of a block may be looked at closely for the cost of products in float32, which select fewer."""
RowPairs = tuple[RowNumbers, RowNumbers]
_INT_LIMIT = float(2**31 - 256)


class Rough(Struct, frozen=True, eq=False):
    """The products of some codes of a block with all vectors of a portion."""

    rows: RowNumbers
    """int64 (r,): the codes' places in the block."""
    values: NDArray[Any]
    """int32 or float32 (r, m)."""
    unit: float
    """The similarity that one step of a value stands for."""
    errors: tuple[FloatArray, FloatArray]
    """float32 (m,) and (r,): the most by which the similarities of each vector, and of each code, may differ."""

    def raised(self, floors: FloatArray, count: int) -> FloatArray:
        """The floors of the vectors, float32 (m,), raised to what `count` codes of this block reach for certain."""
        return _raised((self.values, self.unit), floors, self.errors[0], count)

    def raised_for_codes(self, floors: FloatArray, count: int) -> FloatArray:
        """The same for the codes, float32 (r,), and the vectors of the portion."""
        return _raised((self.values.T, self.unit), floors, self.errors[1], count)

    def candidates(self, floors: FloatArray, code_floors: FloatArray | None = None) -> tuple[RowNumbers, RowNumbers]:
        """The pairs that may reach the floor of their vector, float32 (m,), or that of their code, float32 (r,).

        Returns places in the block and vectors, int64 (p,) each.
        """
        chosen = self.values >= _limits(self.values, self.unit, floors - self.errors[0])
        if code_floors is not None:
            chosen |= self.values >= _limits(self.values, self.unit, code_floors - self.errors[1])[:, None]
        places = np.flatnonzero(chosen)
        rows, vectors = np.divmod(places, self.values.shape[1])
        return self.rows[rows], vectors


def _limits(values: NDArray[Any], unit: float, floors: FloatArray) -> NDArray[Any]:
    """Floors of similarities in steps of values."""
    limits = floors.astype(np.float64) / unit
    if values.dtype == np.float32:
        return limits.astype(np.float32)
    return np.floor(limits).clip(-_INT_LIMIT, _INT_LIMIT).astype(np.int32)


def _raised(product: tuple[NDArray[Any], float], floors: FloatArray, errors: FloatArray, count: int) -> FloatArray:
    """Floors of columns, raised where many more than `count` rows pass: to the similarity that so many surely have."""
    values, unit = product
    if count >= len(values):
        return floors
    passing = (values[::_EVERY] >= _limits(values, unit, floors - errors)).sum(axis=0) * _EVERY
    heavy = np.flatnonzero(passing > _MANY * count)
    if not len(heavy):
        return floors
    place = len(values) - count
    reached = np.partition(values[:, heavy], place, axis=0)[place].astype(np.float32)
    out = floors.copy()
    out[heavy] = np.maximum(out[heavy], reached * np.float32(unit) - errors[heavy])
    return out


class ReadyCodes(Struct, frozen=True, eq=False):
    """A block of codes made ready to be compared with vectors."""

    codes: HalfArray
    parts: tuple[tuple[RowNumbers, Scaled, Products], ...]
    """Rows of the block, int64 (r,), their vectors, and the way to multiply them. Codes of zeros, which stand for none,
    are in no part; those for which bytes are too coarse in one of their own, where they spoil no other's limits."""


def ready_codes(codes: HalfArray, way: Products, unit: float) -> ReadyCodes:
    """Make a block of codes, float16 (n, d), ready for portions of this way and unit."""
    held = np.bitwise_or.reduce(codes.view("<u2"), axis=1) != 0
    scaled = way.scale(codes, unit)
    fine = held & (scaled.slack <= COARSE)
    coarse = np.flatnonzero(held & ~fine)
    parts: list[tuple[RowNumbers, Scaled, Products]] = []
    if fine.any():
        parts.append((np.flatnonzero(fine), scaled if fine.all() else scaled.where(fine), way))
    if coarse.size:
        floats = FloatProducts()
        parts.append((coarse, floats.scale(codes[coarse]), floats))
    return ReadyCodes(codes, tuple(parts))


class PackedVectors:
    """Vectors, float32 or float16 (m, d), that blocks of codes are compared with."""

    def __init__(self, rows: RowNumbers, vectors: FloatArray | HalfArray, way: Products, unit: float) -> None:
        self.rows = rows
        """int64 (m,): what the caller knows them by."""
        self._vectors = vectors
        self._way = way
        self._scaled = way.scale(vectors, unit)
        self._columns = self._scaled.columns()

    def select(self, block: ReadyCodes, choose: Callable[[Rough], RowPairs]) -> Iterator[RowPairs]:
        """What `choose` selects of the products with a block; of those in float32 where too much is near the limits."""
        for rough in self._compare(block):
            chosen = choose(rough)
            crowded = len(chosen[0]) * _CROWDED > rough.values.size
            yield choose(self._compare_exactly(block, rough)) if crowded and rough.unit != 1 else chosen

    def _compare(self, block: ReadyCodes) -> Iterator[Rough]:
        for rows, scaled, way in block.parts:
            if way is self._way:
                values, own = way.multiply(scaled, self._columns), self._scaled
            else:
                values, own = way.multiply(scaled, self._floats.columns()), self._floats
            errors = allowance(own.slack, scaled.slack.max()), allowance(scaled.slack, own.slack.max())
            yield Rough(rows, values, scaled.unit * own.unit, errors)

    def _compare_exactly(self, block: ReadyCodes, rough: Rough) -> Rough:
        floats = FloatProducts()
        scaled = floats.scale(block.codes[rough.rows])
        errors = allowance(self._floats.slack, 0.0), allowance(scaled.slack, 0.0)
        return Rough(rough.rows, floats.multiply(scaled, self._floats.columns()), 1.0, errors)

    @cached_property
    def _floats(self) -> Scaled:
        return FloatProducts().scale(self._vectors)


class Stripe(Struct, frozen=True, eq=False):
    """Portions that a block is compared with while it is ready."""

    way: Products
    unit: float
    portions: tuple[PackedVectors, ...]

    @property
    def rows(self) -> RowNumbers:
        """int64 (m,): those of all portions."""
        return np.concatenate([portion.rows for portion in self.portions])


PACKED = 1024
"""Vectors compared with a block at once: their products stay in the processor's cache."""


def stripes(rows: RowNumbers, vectors: FloatArray | HalfArray, products: Products, most: int) -> Iterator[Stripe]:
    """Divide vectors, (m, d), known by `rows`, int64 (m,), into stripes of at most `most`.

    Those for which bytes are too coarse come last, in stripes of their own.
    """
    unit = products.scale(vectors[:PACKED]).unit
    slack = [products.scale(vectors[i : i + PACKED], unit).slack for i in range(0, len(vectors), PACKED)]
    fine = np.concatenate([np.zeros(0, np.float32), *slack]) <= COARSE
    for chosen, way, step in ((np.flatnonzero(fine), products, unit), (np.flatnonzero(~fine), FloatProducts(), 1.0)):
        for start in range(0, len(chosen), max(1, most)):
            some = chosen[start : start + most]
            parts = [some[i : i + PACKED] for i in range(0, len(some), PACKED)]
            yield Stripe(way, step, tuple(PackedVectors(rows[part], vectors[part], way, step) for part in parts))
