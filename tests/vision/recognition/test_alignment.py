"""The closed form against scikit-image, and flipped views against copies."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.vision.recognition.alignment import TEMPLATE, align_faces, fit_similarity


def some_landmarks(count: int) -> NDArray[np.float32]:
    """Faces of many sizes, positions and rotations, each slightly distorted."""
    rng = np.random.default_rng(3)
    angle, size = rng.uniform(-np.pi, np.pi, count), rng.uniform(0.1, 8, count)
    turn = (
        np.stack((np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)), axis=1).reshape(-1, 2, 2)
        * size[:, None, None]
    )
    shape = TEMPLATE[None] + rng.normal(0, 3, (count, 5, 2))
    return (shape @ turn.transpose(0, 2, 1) + rng.uniform(0, 3000, (count, 1, 2))).astype(np.float32)


def test_the_closed_form_is_the_least_squares_fit() -> None:
    from skimage.transform import SimilarityTransform

    landmarks = some_landmarks(50)
    for points, matrix in zip(landmarks, fit_similarity(landmarks), strict=True):
        expected = SimilarityTransform.from_estimate(points, TEMPLATE)
        np.testing.assert_allclose(matrix, expected.params[:2], rtol=1e-6, atol=1e-4)


def test_the_template_itself_is_left_where_it_is() -> None:
    np.testing.assert_allclose(fit_similarity(TEMPLATE[None])[0], [[1, 0, 0], [0, 1, 0]], atol=1e-9)


def test_landmarks_that_coincide_give_a_crop_and_no_error() -> None:
    crops = align_faces(np.full((50, 60, 3), 9, np.uint8), np.full((1, 5, 2), 7, np.float32))
    assert crops.shape == (1, 112, 112, 3)


def smooth_photo(height: int, width: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:height, :width]
    return np.stack((128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), (x + y) % 251), axis=-1).astype(np.uint8)


@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_view_gives_the_crops_of_its_copy(flips: tuple[int, int], *, transposed: bool) -> None:
    frame = smooth_photo(300, 400)
    view = (frame.transpose(1, 0, 2) if transposed else frame)[:: flips[0], :: flips[1]]
    landmarks = some_landmarks(20) * 0.1
    from_view, from_copy = align_faces(view, landmarks), align_faces(np.ascontiguousarray(view), landmarks)
    off = np.abs(from_view.astype(int) - from_copy)
    assert off.max() <= 1 or (off > 1).mean() < 1e-4
    assert (off > 0).mean() < 0.01
