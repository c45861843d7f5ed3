"""The nearest codes to many queries: exact against all products in float64, however the products are made."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.similarity import nearest as searching
from facecli.similarity.codes import HalfArray
from facecli.similarity.nearest import Stored, nearest
from facecli.similarity.products import ByteProducts, FloatProducts, Products
from facecli.types import FloatArray

WAYS = (ByteProducts, FloatProducts)
HOLES = (5, 2048, 3000)
PEAKED = (7, 2500)
"""HalfArray with all their length in one dimension, which bytes cannot hold."""


def stored_codes(count: int) -> HalfArray:
    vectors = np.random.default_rng(count).standard_normal((count, 512), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[count // 2 :] = 0.6 * vectors[: count - count // 2] + 0.8 * vectors[count // 2 :]
    vectors[[row for row in PEAKED if row < count]] = np.eye(512, dtype=np.float32)[3]
    vectors[[row for row in HOLES if row < count]] = 0
    return vectors.astype(np.float16)


def asked(codes: HalfArray, count: int) -> FloatArray:
    """Queries like some of the codes, the first like the peaked ones."""
    draw = np.random.default_rng(9)
    queries = codes[draw.integers(10, 1000, count)] + 0.03 * draw.standard_normal((count, 512), np.float32)
    queries[0] = codes[PEAKED[0]]
    return np.asarray(queries / np.linalg.norm(queries, axis=1, keepdims=True), np.float32)


def expected(queries: FloatArray, codes: HalfArray, count: int, least: float) -> tuple[NDArray[np.int64], FloatArray]:
    """The same from all similarities."""
    all_of_them = (queries.astype(np.float64) @ codes.astype(np.float64).T).astype(np.float32)
    all_of_them[:, ~codes.any(axis=1)] = -np.inf
    labels = np.argsort(-all_of_them, axis=1, kind="stable")[:, :count]
    values = np.take_along_axis(all_of_them, labels, axis=1)
    found = values >= least
    return np.where(found, labels, -1), np.where(found, values, np.float32(-np.inf))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("count", "least"), [(10, -2.0), (64, 0.3), (3, 0.9)])
def test_the_answer_is_that_of_all_products(
    monkeypatch: pytest.MonkeyPatch, way: type[Products], count: int, least: float
) -> None:
    codes = stored_codes(4500)
    queries = asked(codes, 1100)
    monkeypatch.setattr(searching, "choose_products", lambda _: way())
    labels, similarities = nearest(queries, Stored(len(codes), lambda a, n: codes[a : a + n]), count, least)
    right_labels, right_similarities = expected(queries, codes, count, least)
    np.testing.assert_allclose(similarities, right_similarities, atol=1e-6)
    # Two similarities may differ by less than the last bit of a float32, in either order.
    assert (labels == right_labels).mean() > 0.9999
    assert not np.isin(HOLES, labels).any()
    assert set(PEAKED) <= set(labels[0])


def test_both_ways_give_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = stored_codes(3100)
    queries, stored = asked(codes, 70), Stored(len(codes), lambda a, n: codes[a : a + n])
    answers = []
    for way in (*WAYS, FloatProducts):
        monkeypatch.setattr(searching, "choose_products", lambda _, way=way: way())
        monkeypatch.setattr(searching, "BLOCK", 2048 - 777 * len(answers))
        answers.append(nearest(queries, stored, 20))
    for labels, similarities in answers[1:]:
        np.testing.assert_array_equal(labels, answers[0][0])
        np.testing.assert_array_equal(similarities, answers[0][1])


def test_more_wanted_than_there_are_is_padded() -> None:
    codes = stored_codes(4)
    labels, similarities = nearest(codes.astype(np.float32), Stored(4, lambda a, n: codes[a : a + n]), 6)
    assert np.sort(labels, axis=1).tolist() == [[-1, -1, 0, 1, 2, 3]] * 4
    assert (labels[:, 0] == np.arange(4)).all()
    assert (similarities[:, 4:] == -np.inf).all()


def test_nothing_is_found_in_nothing() -> None:
    queries = stored_codes(2).astype(np.float32)
    labels, _ = nearest(queries, Stored(0, lambda _, n: np.zeros((n, 512), np.float16)), 3)
    assert (labels == -1).all()
    assert nearest(queries[:0], Stored(2, lambda _, n: stored_codes(2)[:n]), 3)[0].shape == (0, 3)
