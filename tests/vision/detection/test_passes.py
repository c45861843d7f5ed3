"""Rotated photos and tiles: the geometry, and faces that only such a pass finds."""

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
from facecli.vision.detection.passes import Tile, place_tile, tile_side, tiles_of, turn, turn_back
from facecli.vision.detection.scrfd import Candidates
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.recognition.alignment import align_faces

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
    for before, after in zip(
        candidates([[3, 5, 20, 31]]).landmarks[0].astype(int), back.landmarks[0].astype(int), strict=True
    ):
        np.testing.assert_array_equal(turned[before[1], before[0]], photo[after[1], after[0]])
    assert (back.boxes[0, :2] < back.boxes[0, 2:]).all()
    assert sorted(back.boxes[0, 2:] - back.boxes[0, :2]) == sorted([17, 26])


@pytest.mark.parametrize("size", [(801, 500), (3000, 4000), (4000, 6000), (800, 12_000), (1080, 1920), (40, 30_000)])
def test_tiles_cover_a_photo_and_overlap(size: tuple[int, int]) -> None:
    seen = np.zeros(size, np.uint8)
    tiles, side = tiles_of(*size, 640, small_faces=True)[-1], tile_side(*size, 640)
    for tile in tiles:
        assert max(tile.right - tile.left, tile.bottom - tile.top) <= side
        tile.cut(seen)[:] += 1
    assert seen.min() == 1
    assert seen.max() >= 2
    for starts in ({t.left for t in tiles}, {t.top for t in tiles}):
        assert all(b - a <= 0.85 * side + 1 for a, b in itertools.pairwise(sorted(starts)))


@pytest.mark.parametrize("size", [(1200, 1600), (3000, 4000), (4000, 6000), (9000, 12_000)])
def test_photos_of_usual_shapes_have_twelve_tiles_at_most(size: tuple[int, int]) -> None:
    [tiles] = tiles_of(*size, 640, small_faces=True)
    assert 6 <= len(tiles) <= 12
    assert tiles_of(*size, 640, small_faces=False) == []


@pytest.mark.parametrize("size", [(800, 800), (15, 60_000), (1, 1)])
def test_where_tiles_show_nothing_new_there_are_none(size: tuple[int, int]) -> None:
    assert tiles_of(*size, 640, small_faces=True) == []


@pytest.mark.parametrize(
    ("size", "counts"),
    [
        ((800, 12_000), [4, 20]),
        ((12_000, 800), [4, 20]),
        ((3800, 16_000), [5]),
        ((3800, 12_000), [4]),
        ((40, 3000), [6]),
        ((300, 800), []),
    ],
)
def test_a_strip_is_cut_into_squares(size: tuple[int, int], counts: list[int]) -> None:
    looks = tiles_of(*size, 640, small_faces=False)
    assert [len(tiles) for tiles in looks] == counts
    smallest = max(640, min(size))
    for tiles, side in zip(reversed(looks), (smallest, 5 * smallest), strict=False):
        assert {(t.right - t.left, t.bottom - t.top) for t in tiles} <= {(min(side, size[1]), min(side, size[0]))}


@pytest.mark.parametrize("side", [320, 640, 1280])
@pytest.mark.parametrize(
    "size",
    [
        (12_000, 300),
        (720, 12_000),
        (1080, 16_000),
        (3240, 1080),
        (3800, 16_000),
        (64, 9000),
        (20_000, 2000),
        (500, 2400),
    ],
)
def test_in_a_strip_each_face_lies_whole_in_some_look_that_shows_it_large_enough(
    size: tuple[int, int], side: int
) -> None:
    """Checks geometry only: a face may be as wide as an upright strip, or as high as a lying one, at any position."""
    along = int(size[1] > size[0])
    longer, shorter = max(size), min(size)
    looks = [[Tile(0, 0, size[1], size[0])], *tiles_of(*size, side, small_faces=False)]
    least = 20 * min(max(tile.right - tile.left, tile.bottom - tile.top) for tiles in looks for tile in tiles) / side
    for width in np.geomspace(least, shorter / (1.4 if along else 1), 12):
        length = width if along else 1.4 * width
        starts = np.arange(0, longer - length, max(1.0, longer / 20_000))
        shown = np.zeros(len(starts), bool)
        for tile in itertools.chain.from_iterable(looks):
            longest, low, high = (
                max(tile.right - tile.left, tile.bottom - tile.top),
                (tile.top, tile.left)[along],
                (tile.bottom, tile.right)[along],
            )
            inner = longest / 320
            whole = (starts >= low + inner * (low > 0)) & (starts + length <= high - inner * (high < longer))
            shown |= whole & (width * side >= 19.999 * longest)
        assert shown.all(), f"a face of {width:.0f} pixels is lost at {starts[~shown][:3]}"


def test_what_an_inner_edge_cuts_off_is_left_to_the_next_tile() -> None:
    boxes = [[0.2, 50, 30, 90], [50, 60, 99.8, 99], [40, 40, 60, 60]]
    assert place_tile(candidates(boxes), Tile(100, 0, 200, 100), 300, 400).boxes.tolist() == [[140, 40, 160, 60]]
    assert len(place_tile(candidates(boxes), Tile(0, 0, 100, 100), 100, 100).boxes) == 3


def test_how_much_of_a_box_is_covered() -> None:
    boxes, others = np.array([[0, 0, 10, 10]], np.float32), np.array([[5, 0, 50, 50], [20, 20, 30, 30]], np.float32)
    np.testing.assert_allclose(covered(boxes, others), [[0.5, 0]])


@pytest.fixture(scope="module")
def open_with(cpu: Device, models: FaceModels) -> Open:
    return lambda options: open_served(models.pack, cpu, Needs(options), Serving())


def searchable(
    models: FaceModels, photo: NDArray[np.uint8], found: Detections, known: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether a found face matches each of the known embeddings."""
    alike: NDArray[np.bool_] = (models.embedder.embed(align_faces(photo, found.landmarks)) @ known.T).max(axis=0) > 0.5
    return alike


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("name", ["t1.jpg", "astronaut.png", "yaoming.jpg"])
def test_the_faces_of_a_photo_on_its_side_can_be_searched(
    name: str, quarters: int, open_with: Open, models: FaceModels, read_rgb: Read
) -> None:
    upright = read_rgb(name)
    faces = models.detector.detect([upright])[0]
    known = models.embedder.embed(align_faces(upright, faces.landmarks))
    lying = np.ascontiguousarray(turn(upright, quarters))
    plain = open_with(DetectionOptions(rotate=False)).detector.detect([lying])[0]
    found = models.detector.detect([lying])[0]
    assert searchable(models, lying, found, known).all()
    added = set(found.found_by[len(plain) :])
    assert added == {FoundBy.ROTATED} if name == "t1.jpg" else added <= {FoundBy.ROTATED}
    for ours, theirs in zip(
        (found.boxes, found.scores, found.landmarks), (plain.boxes, plain.scores, plain.landmarks), strict=True
    ):
        np.testing.assert_array_equal(ours[: len(plain)], theirs)
    assert found.boxes.min() >= -5
    assert (found.boxes <= np.tile(lying.shape[1::-1], 2) + 5).all()


def test_a_photo_that_shows_an_upright_face_is_not_turned(open_with: Open, models: FaceModels, read_rgb: Read) -> None:
    photos = [
        read_rgb(name)
        for name in ("players.jpg", "t1.jpg", "gdp.jpg", "astronaut.png", "yaoming.jpg", "Tom_Hanks_54745.png")
    ]
    plain = open_with(DetectionOptions(rotate=False)).detector.detect(photos)
    for turned, straight in zip(models.detector.detect(photos), plain, strict=True):
        np.testing.assert_array_equal(turned.boxes, straight.boxes)
        np.testing.assert_array_equal(turned.found_by, straight.found_by)


@pytest.mark.parametrize("name", ["coffee.png", "rocket.jpg", "chelsea.png", "moon.png"])
def test_nothing_is_found_where_nobody_is_however_it_is_turned(
    name: str, open_with: Open, find_sample: Callable[[str], Path]
) -> None:
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
    """Checked by eye, every detection is a head: 22 in the whole photo, over a hundred in its tiles."""
    assert len(open_with(DetectionOptions(tiles=True)).detector.detect([read_rgb("players.jpg")])[0]) > 100


def test_options_work_together(open_with: Open, models: FaceModels, read_rgb: Read) -> None:
    upright = np.concatenate([np.zeros((2400, 1237, 3), np.uint8), read_rgb("players.jpg")])
    lying = np.ascontiguousarray(turn(upright, 1))
    found = open_with(DetectionOptions(tiles=True, rotate=True)).detector.detect([lying])[0]
    once = models.detector.detect([read_rgb("players.jpg")])[0]
    team = once.select(once.scores > 0.75)
    known = models.embedder.embed(align_faces(read_rgb("players.jpg"), team.landmarks))
    assert searchable(models, lying, found, known).sum() >= 15


@pytest.mark.parametrize("share", [0.9, 0.45, 0.3, 0.0])
@pytest.mark.parametrize("size", [(12_000, 300), (12_000, 720), (720, 12_000), (1000, 4500), (9000, 100)])
def test_a_face_is_found_at_every_position_along_a_strip(
    size: tuple[int, int], share: float, models: FaceModels, read_rgb: Read
) -> None:
    """Two faces alternate, spaced so that tile borders fall everywhere.

    They are `share` of the strip's shorter side wide, or as small as promised.
    """
    along = int(size[1] > size[0])
    least = 20 * max(640, min(size)) / 640
    strip, places = np.full((*size, 3), 118, np.uint8), []
    faces = itertools.cycle([lone_face(models, read_rgb(name)) for name in ("yaoming.jpg", "astronaut.png")])
    at = 0
    while True:
        pixels, box = next(faces)
        scale = max(least, share * min(size) / (1.4 if along else 1)) / (box[2] - box[0])
        small = cv2.resize(
            pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        )
        corner = [(size[0] - small.shape[0]) // 2, (size[1] - small.shape[1]) // 2]
        corner[along] = at
        if at + small.shape[along] > size[along]:
            break
        put(strip, small, corner)
        places.append(box * scale + np.tile(corner[::-1], 2))
        at += small.shape[along] + 37
    found = models.detector.detect([strip])[0]
    nearest = overlaps(np.array(places, np.float32), found.boxes.astype(np.float32)).max(axis=1)
    assert (nearest > 0.5).all(), (
        f"{(nearest <= 0.5).sum()} of {len(places)} faces of {min(p[2] - p[0] for p in places):.0f} pixels are lost"
    )


def lone_face(models: FaceModels, photo: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The face with the best score and its surroundings, and its box in that crop."""
    box = models.detector.detect([photo])[0].boxes[0]
    middle, reach = (box[:2] + box[2:]) / 2, 0.9 * (box[3] - box[1])
    (left, top), (right, bottom) = np.maximum(0, middle - reach).astype(int), (middle + reach).astype(int)
    return photo[top:bottom, left:right], box - np.array([left, top, left, top], np.float32)


def put(canvas: NDArray[np.uint8], picture: NDArray[np.uint8], corner: list[int]) -> None:
    """Paste an image on a canvas, upper left at `corner` (y, x); what exceeds the canvas is cut off."""
    top, left = (max(0, c) for c in corner)
    part = picture[top - corner[0] :, left - corner[1] :][: canvas.shape[0] - top, : canvas.shape[1] - left]
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
