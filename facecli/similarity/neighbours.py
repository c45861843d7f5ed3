"""The most similar other rows of each row of many codes, exactly: found for new rows, and kept for the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from msgspec import Struct

from facecli.reporting import Reporter, counting
from facecli.similarity.best import Best, Pairs, joined
from facecli.similarity.codes import HalfArray, RowNumbers, pair_similarities
from facecli.similarity.products import choose_products
from facecli.similarity.rough import Rough, Stripe, ready_codes, stripes

BLOCK = 1024
"""Codes compared at once."""
STRIPE = 4096
"""New rows that a block is compared with while it is ready."""


class Neighbourhood(Struct, frozen=True, eq=False):
    """Which rows may be neighbours, and how many count."""

    codes: HalfArray
    """float16 (n, d), of unit length."""
    apart: RowNumbers
    """int64 (n,): rows with the same number are never neighbours."""
    count: int
    least: float
    """The lowest similarity (cosine) of neighbours."""


class Known(Struct, frozen=True, eq=False):
    """What was found before."""

    new: RowNumbers
    """int64 (m,): the rows to search for."""
    pairs: Pairs
    """The neighbours of the other rows among each other, the best `count` of each, in both directions."""


def find_neighbours(space: Neighbourhood, known: Known, report: Reporter) -> Pairs:
    """The `count` most similar rows of each row: by row, then by falling similarity, then by number.

    m new rows among n cost m·n products, half of that where all are new. The answer is the same however it is divided
    into new and known rows, and does not depend on how products are made.
    """
    total, new = len(space.codes), len(known.new)
    best = Best(total, space.count, space.least)
    best.add(known.pairs)
    products = choose_products(new * total)
    surely = space.count + int(np.unique(space.apart, return_counts=True)[1].max(initial=1))
    left = np.ones(total, bool)
    with counting(report, "faces", new):
        for stripe in stripes(known.new, space.codes[known.new], products, STRIPE):
            rows = np.flatnonzero(left)
            search = _Search(space, stripe, (best, surely), rows)
            with ThreadPoolExecutor(stripe.way.threads) as workers:
                for pairs in workers.map(search, range(0, len(rows), BLOCK)):
                    best.add(pairs)
            left[stripe.rows] = False
            _advance(report, (total - len(rows), len(stripe.rows)), (new, total))
    return best.pairs()


def _advance(report: Reporter, span: tuple[int, int], sizes: tuple[int, int]) -> None:
    """Report as many of the new rows as have that share of the work: the first are compared with the most others."""
    new, total = sizes

    def share(done: int) -> int:
        return round(done * (2 * total - done) / (2 * total - new))

    report.advance(share(sum(span)) - share(span[0]))


class _Search(Struct, frozen=True, eq=False):
    """Compare blocks of rows with a stripe of new ones."""

    space: Neighbourhood
    stripe: Stripe
    found: tuple[Best, int]
    """The best so far, and how many rows at a similarity make sure that it is reached by as many as count."""
    rows: RowNumbers
    """int64 (r,), rising: all but those of earlier stripes, which were compared with everything."""

    def __call__(self, start: int) -> Pairs:
        """The pairs of a block of `rows` that may be among the best of either, in both directions."""
        block = self.rows[start : start + BLOCK]
        ready = ready_codes(self._codes(block), self.stripe.way, self.stripe.unit)
        found = []
        for portion in self.stripe.portions:
            for one, other in portion.select(ready, partial(self._candidates, block, portion.rows)):
                similarities = pair_similarities((self.space.codes, one), (self.space.codes, other))
                found += [Pairs(one, other, similarities), Pairs(other, one, similarities)]
        return joined(found)

    def _codes(self, block: RowNumbers) -> HalfArray:
        """Their codes, without a copy where they lie together."""
        if block[-1] - block[0] + 1 == len(block):
            return self.space.codes[block[0] : block[-1] + 1]
        return self.space.codes[block]

    def _candidates(self, block: RowNumbers, portion: RowNumbers, rough: Rough) -> tuple[RowNumbers, RowNumbers]:
        """The pairs of rows to look at, int64 (p,) each; those within the stripe once."""
        best, surely = self.found
        floors = rough.raised(best.floors[portion], surely)
        code_floors = rough.raised_for_codes(best.floors[block[rough.rows]], surely)
        places, columns = rough.candidates(floors, code_floors)
        one, other = block[places], portion[columns]
        good = self.space.apart[one] != self.space.apart[other]
        good &= (one > other) | ~np.isin(one, self.stripe.rows)
        return one[good], other[good]
