"""Turned photos and tiles: the geometry, and faces that only such a look finds."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.config import DetectionOptions
from facecli.types import FoundBy
from facecli.vision.align import align_faces
from facecli.vision.device import Device
from facecli.vision.looks import Tile, place_tile, tiles_of, turn, turn_back
from facecli.vision.models import FaceModels, open_models
from facecli.vision.packs import find_pack
from facecli.vision.scrfd import Candidates, covered, overlaps

Read = Callable[[str], NDArray[np.uint8]]


def candidates(boxes: list[list[float]]) -> Candidates:
    array = np.array(boxes, np.float32).reshape(-1, 4)
    marks = np.stack((array[:, :2], array[:, 2:], array[:, [0, 3]], array[:, [2, 1]], array[:, :2]), axis=1)
    return Candidates(array, np.linspace(0.9, 0.5, len(array)).astype(np.float32), marks)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_point_of_a_turned_photo_is_turned_back_to_its_pixel(quarters: int) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (40, 70, 3), dtype=np.uint8)
    turned = turn(photo, quarters)
    back = turn_back(candidates([[3, 5, 20, 31]]), quarters, 40, 70)
    for before, after in zip(candidates([[3, 5, 20, 31]]).landmarks[0].astype(int), back.landmarks[0].astype(int), strict=True):
        np.testing.assert_array_equal(turned[before[1], before[0]], photo[after[1], after[0]])
    assert (back.boxes[0, :2] < back.boxes[0, 2:]).all()
    assert sorted(back.boxes[0, 2:] - back.boxes[0, :2]) == sorted([17, 26])


@pytest.mark.parametrize("size", [(1281, 500), (3000, 4000), (800, 12_000), (1280, 1281)])
def test_tiles_cover_a_photo_and_overlap(size: tuple[int, int]) -> None:
    seen = np.zeros(size, np.uint8)
    for tile in tiles_of(*size, 1280):
        assert tile.right - tile.left <= 1280
        assert tile.bottom - tile.top <= 1280
        tile.cut(seen)[:] += 1
    assert seen.min() == 1
    assert seen.max() >= 2


def test_a_small_photo_has_no_tiles() -> None:
    assert tiles_of(1280, 1280, 1280) == []


def test_what_an_inner_edge_cuts_off_is_left_to_the_next_tile() -> None:
    boxes = [[0.5, 50, 30, 90], [50, 60, 99.5, 99], [40, 40, 60, 60]]
    assert place_tile(candidates(boxes), Tile(100, 0, 200, 100), 300, 400).boxes.tolist() == [[140, 40, 160, 60]]
    assert len(place_tile(candidates(boxes), Tile(0, 0, 100, 100), 100, 100).boxes) == 3


def test_how_much_of_a_box_is_covered() -> None:
    boxes, others = np.array([[0, 0, 10, 10]], np.float32), np.array([[5, 0, 50, 50], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(covered(boxes, others), [[0.5, 0]])


@pytest.fixture(scope="module")
def open_with(cpu: Device, models: FaceModels) -> Callable[[DetectionOptions], FaceModels]:
    return lambda options: open_models(models.pack or find_pack(None), cpu, options)


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_on_its_side_gives_the_faces_of_the_upright_one(
    quarters: int, models: FaceModels, open_with: Callable[[DetectionOptions], FaceModels], read_rgb: Read
) -> None:
    upright = read_rgb("astronaut.png")
    lying = np.ascontiguousarray(turn(upright, quarters))
    rotating = open_with(DetectionOptions(rotate=True))
    found = rotating.detector.detect([lying])[0]
    assert set(found.found_by) == {FoundBy.ROTATED}
    expected = models.detector.detect([upright])[0]
    assert len(found) == len(expected)
    embeddings = [models.embedder.embed(align_faces(p, f.landmarks)) for p, f in ((lying, found), (upright, expected))]
    assert np.sum(embeddings[0] * embeddings[1], axis=1).min() > 0.99


def test_a_photo_with_a_sure_face_is_not_turned(open_with: Callable[[DetectionOptions], FaceModels], models: FaceModels, read_rgb: Read) -> None:
    photo = read_rgb("astronaut.png")
    rotating = open_with(DetectionOptions(rotate=True)).detector.detect([photo])[0]
    np.testing.assert_array_equal(rotating.boxes, models.detector.detect([photo])[0].boxes)


def test_tiles_add_small_faces_and_change_no_other(open_with: Callable[[DetectionOptions], FaceModels], models: FaceModels, read_rgb: Read) -> None:
    players = read_rgb("players.jpg")
    crowd = np.zeros((3 * players.shape[0], 3 * players.shape[1], 3), np.uint8)
    crowd[: players.shape[0], : players.shape[1]] = players
    crowd[-players.shape[0] :, -players.shape[1] :] = players
    plain = models.detector.detect([crowd])[0]
    thorough = open_with(DetectionOptions(tiles=True)).detector.detect([crowd])[0]
    np.testing.assert_array_equal(thorough.boxes[: len(plain)], plain.boxes)
    more = thorough.select(thorough.found_by == FoundBy.TILE)
    assert len(thorough) == len(plain) + len(more)
    assert len(thorough) >= 40 > len(plain)
    assert not len(plain) or overlaps(more.boxes, plain.boxes).max() <= 0.4
