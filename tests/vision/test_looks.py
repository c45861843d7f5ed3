"""Turned photos and tiles: the geometry, and faces that only such a look finds."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.boxes import covered, overlaps
from facecli.config import DetectionOptions
from facecli.types import Detections, FoundBy
from facecli.vision.align import align_faces
from facecli.vision.device import Device
from facecli.vision.looks import Tile, place_tile, tile_side, tiles_of, turn, turn_back
from facecli.vision.models import FaceModels, open_models
from facecli.vision.scrfd import Candidates

Read = Callable[[str], NDArray[np.uint8]]
Open = Callable[[DetectionOptions], FaceModels]


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


@pytest.mark.parametrize("size", [(801, 500), (3000, 4000), (4000, 6000), (800, 12_000), (1080, 1920), (40, 30_000)])
def test_tiles_cover_a_photo_and_overlap(size: tuple[int, int]) -> None:
    seen = np.zeros(size, np.uint8)
    tiles, side = tiles_of(*size, 640, small_faces=True), tile_side(*size, 640)
    for tile in tiles:
        assert max(tile.right - tile.left, tile.bottom - tile.top) <= side
        tile.cut(seen)[:] += 1
    assert seen.min() == 1
    assert seen.max() >= 2
    for starts in ({t.left for t in tiles}, {t.top for t in tiles}):
        assert all(b - a <= 0.85 * side + 1 for a, b in itertools.pairwise(sorted(starts)))


@pytest.mark.parametrize("size", [(1200, 1600), (3000, 4000), (4000, 6000), (9000, 12_000)])
def test_photos_of_usual_shapes_have_twelve_tiles_at_most(size: tuple[int, int]) -> None:
    assert 6 <= len(tiles_of(*size, 640, small_faces=True)) <= 12
    assert tiles_of(*size, 640, small_faces=False) == []


@pytest.mark.parametrize("size", [(800, 800), (15, 60_000), (1, 1)])
def test_where_tiles_show_nothing_new_there_are_none(size: tuple[int, int]) -> None:
    assert tiles_of(*size, 640, small_faces=True) == []


@pytest.mark.parametrize(("size", "count"), [((800, 12_000), 18), ((12_000, 800), 18), ((3800, 16_000), 5), ((40, 3000), 6), ((300, 800), 0)])
def test_a_strip_is_cut_into_squares(size: tuple[int, int], count: int) -> None:
    tiles = tiles_of(*size, 640, small_faces=False)
    assert len(tiles) == count
    assert {(t.right - t.left, t.bottom - t.top) for t in tiles} <= {(min(max(640, min(size)), size[1]), min(max(640, min(size)), size[0]))}


def test_what_an_inner_edge_cuts_off_is_left_to_the_next_tile() -> None:
    boxes = [[0.2, 50, 30, 90], [50, 60, 99.8, 99], [40, 40, 60, 60]]
    assert place_tile(candidates(boxes), Tile(100, 0, 200, 100), 300, 400).boxes.tolist() == [[140, 40, 160, 60]]
    assert len(place_tile(candidates(boxes), Tile(0, 0, 100, 100), 100, 100).boxes) == 3


def test_how_much_of_a_box_is_covered() -> None:
    boxes, others = np.array([[0, 0, 10, 10]], np.float32), np.array([[5, 0, 50, 50], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(covered(boxes, others), [[0.5, 0]])


@pytest.fixture(scope="module")
def open_with(cpu: Device, models: FaceModels) -> Open:
    return lambda options: open_models(models.pack, cpu, options)


def searchable(models: FaceModels, photo: NDArray[np.uint8], found: Detections, known: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Whether some face that was found is like each of the known embeddings."""
    alike: NDArray[np.bool_] = (models.embedder.embed(align_faces(photo, found.landmarks)) @ known.T).max(axis=0) > 0.5
    return alike


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("name", ["t1.jpg", "astronaut.png", "yaoming.jpg"])
def test_the_faces_of_a_photo_on_its_side_can_be_searched(name: str, quarters: int, open_with: Open, models: FaceModels, read_rgb: Read) -> None:
    upright = read_rgb(name)
    faces = models.detector.detect([upright])[0]
    known = models.embedder.embed(align_faces(upright, faces.landmarks))
    lying = np.ascontiguousarray(turn(upright, quarters))
    plain = open_with(DetectionOptions(rotate=False)).detector.detect([lying])[0]
    found = models.detector.detect([lying])[0]
    assert searchable(models, lying, found, known).all()
    added = set(found.found_by[len(plain) :])
    assert added == {FoundBy.ROTATED} if name == "t1.jpg" else added <= {FoundBy.ROTATED}
    for ours, theirs in zip((found.boxes, found.scores, found.landmarks), (plain.boxes, plain.scores, plain.landmarks), strict=True):
        np.testing.assert_array_equal(ours[: len(plain)], theirs)
    assert found.boxes.min() >= -5
    assert (found.boxes <= np.tile(lying.shape[1::-1], 2) + 5).all()


def test_a_photo_that_shows_an_upright_face_is_not_turned(open_with: Open, models: FaceModels, read_rgb: Read) -> None:
    photos = [read_rgb(name) for name in ("players.jpg", "t1.jpg", "gdp.jpg", "astronaut.png", "yaoming.jpg", "Tom_Hanks_54745.png")]
    plain = open_with(DetectionOptions(rotate=False)).detector.detect(photos)
    for turned, straight in zip(models.detector.detect(photos), plain, strict=True):
        np.testing.assert_array_equal(turned.boxes, straight.boxes)
        np.testing.assert_array_equal(turned.found_by, straight.found_by)


@pytest.mark.parametrize("name", ["coffee.png", "rocket.jpg", "chelsea.png", "moon.png"])
def test_nothing_is_found_where_nobody_is_however_it_is_turned(name: str, open_with: Open, find_sample: Callable[[str], Path]) -> None:
    pixels = cv2.cvtColor(cv2.imread(str(find_sample("astronaut.png").with_name(name))), cv2.COLOR_BGR2RGB)
    assert len(open_with(DetectionOptions(tiles=True)).detector.detect([pixels])[0]) == 0


def test_tiles_add_small_faces_and_change_no_other(open_with: Open, models: FaceModels, read_rgb: Read) -> None:
    players = read_rgb("players.jpg")
    height, width = players.shape[:2]
    crowd = np.zeros((3 * height, 3 * width, 3), np.uint8)
    crowd[:height, :width] = players
    crowd[-height:, -width:] = players
    plain = models.detector.detect([crowd])[0]
    thorough = open_with(DetectionOptions(tiles=True)).detector.detect([crowd])[0]
    np.testing.assert_array_equal(thorough.boxes[: len(plain)], plain.boxes)
    assert set(thorough.found_by[len(plain) :]) == {FoundBy.TILE}
    once = models.detector.detect([players])[0]
    team = once.select(once.scores > 0.75)
    known = models.embedder.embed(align_faces(players, team.landmarks))
    assert len(team) == 16
    assert searchable(models, crowd, plain, known).sum() <= 2
    assert searchable(models, crowd, thorough, known).all()
    tiles = thorough.boxes[thorough.found_by == FoundBy.TILE]
    assert (overlaps(tiles, tiles) > 0.4).sum() == len(tiles)


def test_tiles_find_the_spectators_behind_the_team(open_with: Open, read_rgb: Read) -> None:
    """By eye, all that is found in them is a head: 22 in the whole photo, over a hundred in its tiles."""
    assert len(open_with(DetectionOptions(tiles=True)).detector.detect([read_rgb("players.jpg")])[0]) > 100


def test_options_work_together(open_with: Open, models: FaceModels, read_rgb: Read) -> None:
    upright = np.concatenate([np.zeros((2400, 1237, 3), np.uint8), read_rgb("players.jpg")])
    lying = np.ascontiguousarray(turn(upright, 1))
    found = open_with(DetectionOptions(tiles=True, rotate=True)).detector.detect([lying])[0]
    once = models.detector.detect([read_rgb("players.jpg")])[0]
    team = once.select(once.scores > 0.75)
    known = models.embedder.embed(align_faces(read_rgb("players.jpg"), team.landmarks))
    assert searchable(models, lying, found, known).sum() >= 15
