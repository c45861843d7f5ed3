"""The neighbours of all rows: exact against all products, and the same when only some rows are new."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.reporting import SilentReporter
from facecli.similarity import neighbours
from facecli.similarity.best import Pairs, joined
from facecli.similarity.codes import HalfArray
from facecli.similarity.neighbours import Known, Neighbourhood, find_neighbours
from facecli.similarity.products import ByteProducts, FloatProducts, Products

WAYS = (ByteProducts, FloatProducts)


def crowd() -> Neighbourhood:
    """3,000 faces: one person with a third, many with few, some of one photo, and two that bytes cannot hold."""
    draw = np.random.default_rng(1)
    people = draw.standard_normal((500, 512), np.float32)
    whose = np.where(draw.random(3000) < 0.33, 0, draw.integers(1, 500, 3000))
    vectors = people[whose] + draw.standard_normal((3000, 512), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[[5, 1700]] = np.eye(512, dtype=np.float32)[7]
    vectors[11] = vectors[12]
    return Neighbourhood(vectors.astype(np.float16), draw.integers(0, 1500, 3000), 8, 0.3)


def expected(space: Neighbourhood) -> Pairs:
    wide = space.codes.astype(np.float64)
    found = (wide @ wide.T).astype(np.float32)
    found[space.apart[:, None] == space.apart] = -2
    others = np.argsort(-found, axis=1, kind="stable")[:, : space.count]
    values = np.take_along_axis(found, others, axis=1)
    kept = values >= np.float32(space.least)
    rows = np.broadcast_to(np.arange(len(found))[:, None], others.shape)
    return Pairs(rows[kept], others[kept], values[kept])


def assert_same(found: Pairs, right: Pairs) -> None:
    for name in ("rows", "others", "similarities"):
        np.testing.assert_array_equal(getattr(found, name), getattr(right, name))


def everything(codes: HalfArray) -> Known:
    return Known(np.arange(len(codes)), joined([]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stripe", [1024, 700])
def test_they_are_those_of_all_products(monkeypatch: pytest.MonkeyPatch, way: type[Products], stripe: int) -> None:
    space = crowd()
    monkeypatch.setattr(neighbours, "choose_products", lambda _: way())
    monkeypatch.setattr(neighbours, "STRIPE", stripe)
    monkeypatch.setattr(neighbours, "BLOCK", 900)
    assert_same(find_neighbours(space, everything(space.codes), SilentReporter()), expected(space))


@pytest.mark.parametrize("way", WAYS)
def test_new_rows_among_known_ones_give_the_same(monkeypatch: pytest.MonkeyPatch, way: type[Products]) -> None:
    space = crowd()
    monkeypatch.setattr(neighbours, "choose_products", lambda _: way())
    new = np.sort(np.random.default_rng(2).choice(3000, 300, replace=False))
    old = np.setdiff1d(np.arange(3000), new)
    before = Neighbourhood(space.codes[old], space.apart[old], space.count, space.least)
    pairs = expected(before)
    known = Known(new, Pairs(old[pairs.rows], old[pairs.others], pairs.similarities))
    assert_same(find_neighbours(space, known, SilentReporter()), expected(space))


def test_progress_ends_at_the_number_of_new_rows() -> None:
    space, done = crowd(), []

    class Counting(SilentReporter):
        def advance(self, done_now: int, **counts: int) -> None:
            done.append(done_now)

    few: NDArray[np.int64] = np.arange(0, 3000, 3)
    find_neighbours(space, Known(few, joined([])), Counting())
    assert sum(done) == len(few)
    assert min(done) >= 0


def test_nothing_has_no_neighbours() -> None:
    empty = Neighbourhood(np.zeros((0, 512), np.float16), np.zeros(0, np.int64), 8, 0.3)
    assert len(find_neighbours(empty, everything(empty.codes), SilentReporter()).rows) == 0
