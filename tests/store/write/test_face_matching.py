"""Which faces of a photo are the ones that were found in it before."""

from __future__ import annotations

import numpy as np
import pytest

from facecli.store.write.face_matching import match_faces
from facecli.types import FloatArray


def boxes(*heights: float) -> FloatArray:
    """Boxes 100 pixels wide at one corner; the IoU of two is the lower height divided by the higher."""
    return np.array([(0, 0, 100, height) for height in heights], np.float32)


@pytest.mark.parametrize(("height", "cosine", "same"), [(91, 0.985, True), (89, 0.985, False), (91, 0.975, False)])
def test_a_face_is_the_same_by_place_and_likeness(height: float, cosine: float, *, same: bool) -> None:
    old, new = np.array([(1, 0)], np.float16), np.array([(cosine, (1 - cosine**2) ** 0.5)], np.float16)
    assert match_faces((boxes(100), old), (boxes(height), new)) == ({0: 0} if same else {})


def test_the_nearest_are_matched_first_and_each_once() -> None:
    codes = np.array([(1, 0)] * 3, np.float16)
    assert match_faces((boxes(100, 96), codes[:2]), (boxes(97, 100), codes[:2])) == {1: 0, 0: 1}
    assert match_faces((boxes(100), codes[:1]), (boxes(97, 99, 98), codes)) == {1: 0}
    assert match_faces((boxes(97, 99, 98), codes), (boxes(100), codes[:1])) == {0: 1}
