"""The overlap of boxes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from facecli.boxes import covered, overlaps
from facecli.store.people.following import overlaps_of_numbers


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_overlap_of_boxes(precision: type[np.floating[Any]]) -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 20, 20, 20]], precision)
    others = np.array([[5, 0, 15, 10], [0, 0, 10, 10], [30, 30, 40, 40]], precision)
    shares = overlaps(boxes, others)
    np.testing.assert_allclose(shares, [[1 / 3, 1, 0], [0, 0, 0]], rtol=1e-6)
    assert shares.dtype == precision
    assert overlaps(boxes[:0], others).shape == (0, 3)


def test_what_is_covered_counts_by_the_first_box() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 40, 10], [5, 5, 5, 5]], np.float32)
    np.testing.assert_array_equal(covered(boxes, boxes[:2]), [[1, 1], [0.25, 1], [0, 0]])


def test_boxes_that_are_turned_inside_out_have_nothing_in_common() -> None:
    boxes = np.array([[0, 0, 10, 10], [10, 10, 0, 0]], np.float32)
    np.testing.assert_array_equal(overlaps(boxes, boxes), [[1, 0], [0, 0]])


def test_damaged_boxes_of_an_index_overlap_nothing() -> None:
    stored = np.array(
        [
            [0, 0, 10, 10],
            [np.nan, 0, 10, 10],
            [0, np.nan, np.nan, 10],
            [0, 0, np.inf, 10],
            [-np.inf, -np.inf, np.inf, np.inf],
        ],
        np.float32,
    )
    with np.errstate(over="ignore"):
        shares = overlaps_of_numbers(stored, stored[:1])
    assert shares.dtype == np.float64
    assert np.isfinite(shares).all()
    assert shares[:3, 0].tolist() == [1, 1, 0], "NaN counts as 0"
