"""Rough products of a block of codes with a portion of vectors, and the few pairs of them that need a closer look."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.similarity.codes import HalfArray, RowNumbers
from facecli.similarity.products import COARSE, FloatProducts, Products, allowance
from facecli.types import FloatArray

_MANY = 4
"""Candidates, in multiples of what is wanted, from which on it pays to find out what the best of a block reach."""
_EVERY = 8
"""One of how many rows is looked at to count candidates."""
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


class Portion:
    """Vectors, float32 or float16 (m, d), that blocks of codes are compared with."""

    def __init__(self, vectors: FloatArray | HalfArray, products: Products) -> None:
        self.vectors = vectors
        self._products = products
        self._scaled = products.scale(vectors)
        self._columns = self._scaled.columns()

    def __len__(self) -> int:
        return len(self.vectors)

    @cached_property
    def _floats(self) -> FloatArray:
        return np.asarray(FloatProducts().scale(self.vectors).columns())

    def compare(self, codes: HalfArray) -> Iterator[Rough]:
        """Compare with a block of codes, float16 (n, d). HalfArray of zeros, which stand for none, are left out."""
        held = np.bitwise_or.reduce(codes.view("<u2"), axis=1) != 0
        scaled = self._products.scale(codes)
        fine = held & (scaled.slack <= COARSE)
        if fine.any():
            some = scaled if fine.all() else scaled.where(fine)
            values = self._products.multiply(some, self._columns)
            yield Rough(np.flatnonzero(fine), values, some.unit * self._scaled.unit, self._errors(some.slack))
        if (coarse := np.flatnonzero(held & ~fine)).size:
            # Bytes say little of these, and in one product with others their slack would let every pair through.
            floats = FloatProducts()
            some = floats.scale(codes[coarse])
            values = floats.multiply(some, self._floats)
            zeros = np.zeros(len(self), np.float32)
            yield Rough(coarse, values, 1.0, (allowance(zeros, 0.0), allowance(some.slack, 0.0)))

    def _errors(self, slack: FloatArray) -> tuple[FloatArray, FloatArray]:
        own = self._scaled.slack
        return allowance(own, slack.max()), allowance(slack, own.max())


def divide(vectors: FloatArray | HalfArray, products: Products, most: int) -> Iterator[tuple[RowNumbers, Products]]:
    """Divide vectors, (n, d), into portions of at most `most`: their rows, int64 (m,), and the way to multiply them.

    Vectors for which bytes are too coarse come in portions of their own.
    """
    slack = [products.scale(vectors[i : i + most]).slack for i in range(0, len(vectors), most)]
    fine = np.concatenate([np.zeros(0, np.float32), *slack]) <= COARSE
    for rows, way in ((np.flatnonzero(fine), products), (np.flatnonzero(~fine), FloatProducts())):
        yield from ((rows[start : start + most], way) for start in range(0, len(rows), most))
