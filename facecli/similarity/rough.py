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

_MANY = 8
"""Pairs a vector, in multiples of what is wanted, from which on a block's own best are found first."""
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
        """Floors float32 (m,), raised to what `count` codes of this block reach for certain."""
        wanted = min(count * _MANY, len(self.rows))
        if count >= len(self.rows):
            return floors
        limits = self._limits(floors, self.errors[0])
        heavy = np.flatnonzero((self.values[::_MANY] >= limits).sum(axis=0) * _MANY > wanted)
        if not len(heavy):
            return floors
        place = len(self.rows) - count
        reached = np.partition(self.values[:, heavy], place, axis=0)[place].astype(np.float32)
        out = floors.copy()
        out[heavy] = np.maximum(out[heavy], reached * np.float32(self.unit) - self.errors[0][heavy])
        return out

    def candidates(self, floors: FloatArray, code_floors: FloatArray | None = None) -> tuple[RowNumbers, RowNumbers]:
        """The pairs that may reach the floor of their vector, float32 (m,), or that of their code, float32 (r,).

        Returns places in the block and vectors, int64 (p,) each.
        """
        chosen = self.values >= self._limits(floors, self.errors[0])
        if code_floors is not None:
            chosen |= self.values >= self._limits(code_floors, self.errors[1])[:, None]
        places = np.flatnonzero(chosen)
        rows, vectors = np.divmod(places, self.values.shape[1])
        return self.rows[rows], vectors

    def _limits(self, floors: FloatArray, errors: FloatArray) -> NDArray[Any]:
        limits = (floors.astype(np.float64) - errors) / self.unit
        if self.values.dtype == np.float32:
            return limits.astype(np.float32)
        return np.floor(limits).clip(-_INT_LIMIT, _INT_LIMIT).astype(np.int32)


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


def portions(vectors: FloatArray | HalfArray, products: Products, most: int) -> Iterator[tuple[RowNumbers, Portion]]:
    """Divide vectors, (n, d), into portions of at most `most`, each with its rows, int64 (m,).

    Vectors for which bytes are too coarse come in portions of their own.
    """
    slack = np.concatenate(
        [np.zeros(0, np.float32)] + [products.scale(vectors[i : i + most]).slack for i in range(0, len(vectors), most)]
    )
    fine = slack <= COARSE
    for rows, way in ((np.flatnonzero(fine), products), (np.flatnonzero(~fine), FloatProducts())):
        for start in range(0, len(rows), most):
            part = rows[start : start + most]
            yield part, Portion(vectors[part], way)
