"""The most similar other rows of each row of many codes, exactly: found for new rows, and kept for the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from msgspec import Struct

from facecli.reporting import Reporter
from facecli.similarity.best import Best, Pairs, joined
from facecli.similarity.codes import HalfArray, RowNumbers, pair_similarities
from facecli.similarity.products import choose_products
from facecli.similarity.rough import Portion, Rough, divide

BLOCK = 2048
"""Codes compared at once."""
STRIPE = 1024
"""Rows that a block is compared with at once."""


class Neighbourhood(Struct, frozen=True, eq=False):
    """Which rows may be neighbours, and how many count."""

    codes: HalfArray
    """float16 (n, d), of unit length."""
    apart: RowNumbers
    """int64 (n,): rows with the same number are never neighbours."""
    count: int
    least: float
    """The lowest similarity (cosine) of neighbours."""

    @property
    def most_apart(self) -> int:
        """The most rows that a row cannot have as neighbours, itself among them."""
        return int(np.unique(self.apart, return_counts=True)[1].max(initial=1))


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
    best = Best(len(space.codes), space.count, space.least)
    best.add(known.pairs)
    products = choose_products(len(known.new) * len(space.codes))
    stripes = list(divide(space.codes[known.new], products, STRIPE))
    old = np.ones(len(space.codes), bool)
    old[known.new] = False
    order = np.concatenate([*(known.new[rows] for rows, _ in stripes), np.flatnonzero(old)]).astype(np.int64)
    done = 0
    report.start("faces", len(known.new))
    with ThreadPoolExecutor(products.threads) as workers:
        for rows, way in stripes:
            stripe = _Stripe(space, (order, done), Portion(space.codes[order[done : done + len(rows)]], way), best)
            for pairs in workers.map(stripe.search, range(done, len(order), BLOCK)):
                best.add(pairs)
            _advance(report, (done, done + len(rows)), (len(known.new), len(order)))
            done += len(rows)
    report.stop()
    return best.pairs()


def _advance(report: Reporter, span: tuple[int, int], sizes: tuple[int, int]) -> None:
    """Report as many of the new rows as have that share of the work: the first are compared with the most others."""
    new, total = sizes

    def share(done: int) -> int:
        return round(new * done * (2 * total - done) / (new * (2 * total - new)))

    report.advance(share(span[1]) - share(span[0]))


class _Stripe(Struct, frozen=True, eq=False):
    """Some new rows, to be compared with those that come after them in an order."""

    space: Neighbourhood
    place: tuple[RowNumbers, int]
    """The order of all rows, int64 (n,), and the place of the stripe's first."""
    portion: Portion
    best: Best

    def search(self, start: int) -> Pairs:
        """The pairs of the block from place `start` on that may be among the best of either row, in both directions."""
        order, first = self.place
        block = order[start : start + BLOCK]
        found = []
        for rough in self.portion.compare(self.space.codes[block]):
            places, vectors = self._candidates(rough, block)
            later = places + start > vectors + first
            one, other = block[places[later]], order[first + vectors[later]]
            allowed = self.space.apart[one] != self.space.apart[other]
            one, other = one[allowed], other[allowed]
            similarities = pair_similarities((self.space.codes, one), (self.space.codes, other))
            found += [Pairs(one, other, similarities), Pairs(other, one, similarities)]
        return joined(found)

    def _candidates(self, rough: Rough, block: RowNumbers) -> tuple[RowNumbers, RowNumbers]:
        order, first = self.place
        surely = self.best.count + self.space.most_apart
        floors = self.best.floors[order[first : first + len(self.portion)]]
        code_floors = self.best.floors[block[rough.rows]]
        return rough.candidates(rough.raised(floors, surely), rough.raised_for_codes(code_floors, surely))
