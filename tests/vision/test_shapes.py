"""Photos of unusual shapes: tiny ones, panoramas and strips give the same boxes as their content with a margin."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.boxes import overlaps
from facecli.config import DetectionOptions
from facecli.types import Detections, FoundBy
from facecli.vision.detection.merge import add_better_read, add_new
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.recognition.alignment import align_faces

Read = Callable[[str], NDArray[np.uint8]]
Open = Callable[[DetectionOptions], FaceModels]


@pytest.fixture(scope="module")
def thorough(cpu: Device, models: FaceModels) -> FaceModels:
    return open_served(models.pack, cpu, Needs(DetectionOptions(tiles=True)), Serving())


@pytest.mark.parametrize("size", [(1, 1), (20, 20), (111, 80), (5, 3000), (3000, 5), (1, 40_000), (2, 2)])
def test_a_photo_with_no_room_for_a_face_has_none(
    size: tuple[int, int], models: FaceModels, thorough: FaceModels
) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    for looking in (models, thorough):
        found = looking.detector.detect([noise])[0]
        assert len(found) == 0
        assert align_faces(noise, found.landmarks).shape == (0, 112, 112, 3)


@pytest.mark.parametrize("side", [111, 80, 48, 32, 20])
def test_a_tiny_portrait_gives_the_face_of_the_large_one(side: int, models: FaceModels, read_rgb: Read) -> None:
    large = read_rgb("astronaut.png")[:270, 95:365]
    tiny = cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    expected, found = models.detector.detect([large])[0], models.detector.detect([tiny])[0]
    assert len(found) == len(expected) == 1
    assert overlaps(found.boxes * (270 / side), expected.boxes)[0, 0] > 0.7
    alike = (
        models.embedder.embed(align_faces(tiny, found.landmarks))
        @ models.embedder.embed(align_faces(large, expected.landmarks)).T
    )
    assert alike[0, 0] > (0.8 if side >= 80 else 0.4 if side >= 48 else -1)


@pytest.mark.parametrize("upright", [True, False])
def test_a_panorama_gives_the_faces_of_its_parts(
    *, upright: bool, models: FaceModels, thorough: FaceModels, read_rgb: Read
) -> None:
    players = read_rgb("players.jpg")
    height, width = players.shape[:2]
    size, corner = ((12_000, 1300), (9000, 40)) if upright else ((800, 12_000), (0, 7000))
    panorama = np.full((*size, 3), 90, np.uint8)
    panorama[corner[0] : corner[0] + height, corner[1] : corner[1] + width] = players
    once = models.detector.detect([players])[0]
    team = once.select(once.scores > 0.75)
    found = thorough.detector.detect([panorama])[0]
    shift = np.tile(np.array(corner[::-1], np.float32), 2)
    assert overlaps(team.boxes + shift, found.boxes).max(axis=1).min() > 0.6
    assert (found.boxes[:, 0] >= corner[1] - 5).all()
    known = models.embedder.embed(align_faces(players, team.landmarks))
    assert (known @ models.embedder.embed(align_faces(panorama, found.landmarks)).T).max(axis=1).min() > 0.5


@pytest.mark.parametrize("shape", [(800, 12_000), (12_000, 800)])
def test_the_faces_of_a_panorama_are_found_by_default(
    shape: tuple[int, int], models: FaceModels, read_rgb: Read
) -> None:
    party = cv2.resize(read_rgb("t1.jpg"), (780, 540))
    panorama = np.full((*shape, 3), 128, np.uint8)
    row, column = (200, 5000) if shape[1] > shape[0] else (5000, 10)
    panorama[row : row + 540, column : column + 780] = party
    found, alone = models.detector.detect([panorama])[0], models.detector.detect([party])[0]
    assert overlaps(alone.boxes + np.array([column, row, column, row], np.float32), found.boxes).max(axis=1).min() > 0.6
    known = models.embedder.embed(align_faces(party, alone.landmarks))
    assert (known @ models.embedder.embed(align_faces(panorama, found.landmarks)).T).max(axis=1).min() > 0.5


def faces(*boxes: list[float], score: float, shift: float = 0.0, by: FoundBy = FoundBy.MAIN) -> Detections:
    """Faces with landmarks at the corners and the middle of their boxes, moved by `shift` sides."""
    array = np.array(boxes, np.float32).reshape(-1, 4)
    x1, y1, x2, y2 = array.T + shift * (array[:, 2] - array[:, 0])
    points = [(x1, y1), (x2, y1), ((x1 + x2) / 2, (y1 + y2) / 2), (x1, y2), (x2, y2)]
    landmarks = np.stack([np.stack(p, axis=1) for p in points], axis=1)
    return Detections(array, np.full(len(array), score, np.float32), landmarks, np.full(len(array), by, np.uint8))


def test_a_later_look_adds_only_what_overlaps_no_face() -> None:
    known = faces([0, 0, 100, 100], score=0.6)
    more = faces([10, 0, 110, 100], [90, 90, 190, 190], score=0.9, by=FoundBy.SMALL_SCALE)
    assert add_new(known, more).boxes.tolist() == [[0, 0, 100, 100], [90, 90, 190, 190]]
    beside = faces([0, 0, 100, 100], [300, 0, 400, 100], score=0.6)
    assert add_new(beside, more).boxes.tolist() == [[0, 0, 100, 100], [300, 0, 400, 100], [90, 90, 190, 190]]
    assert add_new(known, Detections.none()) is known
    assert add_new(Detections.none(), known).boxes.tolist() == known.boxes.tolist()


@pytest.mark.parametrize(("score", "shift", "added"), [(0.9, 0.2, True), (0.64, 0.2, False), (0.9, 0.05, False)])
def test_a_misread_face_holds_no_better_reading_back(score: float, shift: float, *, added: bool) -> None:
    known = faces([0, 0, 100, 100], score=0.6)
    together = add_better_read(known, faces([5, 0, 105, 100], score=score, shift=shift, by=FoundBy.TILE))
    assert len(together) == 1 + added
    np.testing.assert_array_equal(together.boxes[0], known.boxes[0])


def test_part_of_a_sure_face_is_no_face() -> None:
    known = faces([0, 0, 100, 100], score=0.85)
    part = faces([40, 40, 70, 70], score=0.7, shift=1, by=FoundBy.TILE)
    assert add_better_read(known, part) is known
