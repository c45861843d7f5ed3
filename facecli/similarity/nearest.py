"""The most similar of many stored codes to each of many queries, exactly."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from msgspec import Struct

from facecli.similarity.best import NOTHING, Best, Pairs, joined
from facecli.similarity.codes import HalfArray, RowNumbers, pair_similarities
from facecli.similarity.products import choose_products
from facecli.similarity.rough import Rough, Stripe, ready_codes, stripes
from facecli.types import FloatArray

BLOCK = 2048
"""HalfArray compared at once."""
PACKED = 1024
"""Queries compared at once."""


class Stored(Struct, frozen=True, eq=False):
    """HalfArray that are read in blocks."""

    total: int
    read: Callable[[int, int], HalfArray]
    """Reads codes float16 (count, d) of unit length, given the first and the count; called from several threads. A code
    of zeros stands for none: it is never found."""


def nearest(
    queries: FloatArray, stored: Stored, count: int, least: float = float(NOTHING)
) -> tuple[RowNumbers, FloatArray]:
    """The `count` most similar codes to each query, by falling similarity, then by number.

    `queries` is float32 (q, d) of unit length; `least` is the lowest similarity (cosine) returned. Returns the codes'
    numbers, int64 (q, count), and similarities, float32 (q, count), padded with -1 and -inf where there are fewer. The
    answer does not depend on how products are made, nor on the number of threads or of queries.
    """
    labels = np.full((len(queries), count), -1, np.int64)
    similarities = np.full((len(queries), count), -np.inf, np.float32)
    vectors = np.ascontiguousarray(queries, np.float32)
    products = choose_products(len(queries) * stored.total)
    best = Best(len(queries), count, least)
    for stripe in stripes(np.arange(len(queries)), vectors, products, len(queries)):
        search = _Search(vectors, stripe, stored, best)
        with ThreadPoolExecutor(stripe.way.threads) as workers:
            for pairs in workers.map(search, range(0, stored.total, BLOCK)):
                best.add(pairs)
    pairs = best.pairs()
    places = np.arange(len(pairs.rows)) - np.searchsorted(pairs.rows, pairs.rows)
    labels[pairs.rows, places], similarities[pairs.rows, places] = pairs.others, pairs.similarities
    return labels, similarities


class _Search(Struct, frozen=True, eq=False):
    """Search blocks for some queries."""

    queries: FloatArray
    stripe: Stripe
    stored: Stored
    best: Best

    def __call__(self, first: int) -> Pairs:
        """The pairs of the block from code `first` on that may be among the best."""
        codes = self.stored.read(first, min(BLOCK, self.stored.total - first))
        block = ready_codes(codes, self.stripe.way, self.stripe.unit)
        found = []
        for portion in self.stripe.portions:
            for rows, columns in portion.select(block, partial(self._candidates, portion.rows)):
                queries = portion.rows[columns]
                similarities = pair_similarities((codes, rows), (self.queries, queries))
                good = similarities >= self.best.floors[queries]
                found.append(Pairs(queries[good], rows[good] + first, similarities[good]))
        return joined(found)

    def _candidates(self, queries: RowNumbers, rough: Rough) -> tuple[RowNumbers, RowNumbers]:
        return rough.candidates(rough.raised(self.best.floors[queries], self.best.count))
