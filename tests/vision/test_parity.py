"""facecli finds the same faces and embeddings as InsightFace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.boxes import overlaps
from facecli.types import FoundBy
from facecli.vision.models import FaceModels
from facecli.vision.recognition.alignment import align_faces

PHOTOS = ("players.jpg", "gdp.jpg", "t1.jpg", "astronaut.png", "yaoming.jpg", "Tom_Hanks_54745.png")


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")
def test_every_face_is_the_one_that_insightface_finds(
    name: str, models: FaceModels, oracle: Any, read_rgb: Callable[[str], NDArray[np.uint8]]
) -> None:
    pixels = read_rgb(name)
    expected = oracle.get(np.ascontiguousarray(pixels[..., ::-1]))
    found = models.detector.detect([pixels])[0]
    embeddings = models.embedder.embed(align_faces(pixels, found.landmarks))
    main = found.found_by == FoundBy.MAIN
    assert main.sum() == len(expected)
    assert main[: len(expected)].all()
    for number, face in enumerate(expected):
        assert np.abs(found.boxes[number] - face.bbox).max() <= 0.5
        assert np.abs(found.landmarks[number] - face.kps).max() <= 0.5
        assert found.scores[number] == pytest.approx(face.det_score, abs=1e-4)
        assert embeddings[number] @ face.normed_embedding >= 0.999
    more = found.select(~main)
    assert not len(more) or not main.any() or overlaps(more.boxes, found.boxes[main]).max() <= 0.4


def test_a_face_that_fills_the_frame_is_found_by_the_second_pass(
    models: FaceModels, read_rgb: Callable[[str], NDArray[np.uint8]]
) -> None:
    found = models.detector.detect([read_rgb("Tom_Hanks_54745.png")])[0]
    assert found.found_by.tolist() == [FoundBy.SMALL_SCALE]
    side = read_rgb("Tom_Hanks_54745.png").shape[0]
    assert np.abs(found.boxes[0] - np.array([0, 0, side, side])).max() < 0.3 * side


def test_a_batch_gives_what_single_photos_give(
    models: FaceModels, read_rgb: Callable[[str], NDArray[np.uint8]]
) -> None:
    photos = [read_rgb(name) for name in PHOTOS]
    for photo, found in zip(photos, models.detector.detect(photos), strict=True):
        alone = models.detector.detect([photo])[0]
        np.testing.assert_array_equal(found.found_by, alone.found_by)
        np.testing.assert_allclose(found.boxes, alone.boxes, atol=1e-3)
        np.testing.assert_allclose(found.landmarks, alone.landmarks, atol=1e-3)


def test_no_photos_and_no_faces_are_no_trouble(models: FaceModels) -> None:
    assert models.detector.detect([]) == []
    empty = models.detector.detect([np.zeros((40, 30, 3), np.uint8)])[0]
    assert len(empty) == 0
    assert models.embedder.embed(align_faces(np.zeros((40, 30, 3), np.uint8), empty.landmarks)).shape == (0, 512)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 5000, 3), (5000, 1, 3), (2, 900, 3)])
def test_strips_where_insightface_fails_are_no_trouble(shape: tuple[int, int, int], models: FaceModels) -> None:
    assert len(models.detector.detect([np.full(shape, 200, np.uint8)])[0]) == 0
