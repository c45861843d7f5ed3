"""The detector's input equals InsightFace's, from contiguous photos and from views."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.vision.detection.letterbox import Letterbox, fit
from facecli.vision.pixels import copy_upright, pixel_values, view_of


def reference(pixels: NDArray[np.uint8], side: int) -> NDArray[np.float32]:
    """The input that insightface.model_zoo.scrfd computes, from RGB."""
    height, width = pixels.shape[:2]
    ratio = float(height) / width
    new_height, new_width = (side, int(side / ratio)) if ratio > 1 else (int(side * ratio), side)
    boxed = np.zeros((side, side, 3), np.uint8)
    boxed[:new_height, :new_width] = cv2.resize(pixels, (new_width, new_height))
    return cv2.dnn.blobFromImage(boxed[..., ::-1], 1 / 128.0, (side, side), (127.5, 127.5, 127.5), swapRB=True)[0]


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), dtype=np.uint8)


SIZES = [(480, 640), (1200, 900), (353, 512), (1187, 1151), (64, 64), (2000, 30), (37, 1999)]


@pytest.mark.parametrize("size", SIZES)
def test_the_input_equals_the_reference_to_the_bit(size: tuple[int, int]) -> None:
    box, blob = Letterbox(127.5, 1 / 128), np.full((3, 320, 320), np.nan, np.float32)
    box.fill(noise(*size), blob)
    np.testing.assert_array_equal(blob, reference(noise(*size), 320))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("flips", [(-1, 1), (1, -1), (-1, -1), (1, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_view_gives_the_input_of_its_copy_to_the_bit(
    size: tuple[int, int], flips: tuple[int, int], *, transposed: bool
) -> None:
    frame = noise(*size)
    view = (frame.transpose(1, 0, 2) if transposed else frame)[:: flips[0], :: flips[1]]
    box, from_view, from_copy = (
        Letterbox(127.5, 1 / 128),
        np.empty((3, 320, 320), np.float32),
        np.empty((3, 320, 320), np.float32),
    )
    assert box.fill(view, from_view) == box.fill(np.ascontiguousarray(view), from_copy)
    np.testing.assert_array_equal(from_view, from_copy)


def test_a_small_photo_after_a_large_one_leaves_nothing_of_it() -> None:
    box, blob = Letterbox(127.5, 1 / 128), np.empty((3, 320, 320), np.float32)
    box.fill(noise(320, 320), blob)
    box.fill(noise(40, 320), blob)
    np.testing.assert_array_equal(blob, reference(noise(40, 320), 320))


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1)])
def test_a_strip_keeps_one_pixel(height: int, width: int) -> None:
    sizes = fit(height, width, (640, 640))
    assert min(sizes.width, sizes.height) >= 1
    assert sizes.scale == 640 / max(height, width)


@pytest.mark.parametrize("flips", [(-1, 1), (1, -1), (-1, -1), (1, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_a_view_is_told_from_its_frame(flips: tuple[int, int], *, transposed: bool) -> None:
    frame = noise(20, 31)
    pixels = (frame.transpose(1, 0, 2) if transposed else frame)[:: flips[0], :: flips[1]]
    view = view_of(pixels)
    assert np.shares_memory(view.frame, frame)
    np.testing.assert_array_equal(copy_upright(view, np.empty(pixels.size, np.uint8)), pixels)
    x, y = 4, 7
    at_x, at_y, _ = (view.to_frame() @ [x, y, 1]).astype(int)
    np.testing.assert_array_equal(view.frame[at_y, at_x], pixels[y, x])


def test_odd_layouts_are_copied() -> None:
    frame = noise(20, 30)
    assert not np.shares_memory(view_of(frame[:, ::2]).frame, frame)
    assert not np.shares_memory(view_of(frame[..., ::-1]).frame, frame)
    assert np.shares_memory(view_of(frame[3:9, 4:17]).frame, frame)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("flips", [(-1, 1), (1, -1), (-1, -1), (1, 1)])
@pytest.mark.parametrize("transposed", [False, True])
def test_pixels_are_those_of_which_the_values_are_made(
    size: tuple[int, int], flips: tuple[int, int], *, transposed: bool
) -> None:
    frame = noise(*size)
    view = (frame.transpose(1, 0, 2) if transposed else frame)[:: flips[0], :: flips[1]]
    box, pixels = Letterbox(127.5, 1 / 128), np.full((2, 320, 320, 3), 77, np.uint8)
    values = np.empty((3, 320, 320), np.float32)
    assert box.fill(view, pixels[1]) == box.fill(view, values)
    table = pixel_values(127.5, 1 / 128)
    np.testing.assert_array_equal(table[pixels[1]].transpose(2, 0, 1), values)
    assert (pixels[0] == 77).all(), "the row before is not touched"
