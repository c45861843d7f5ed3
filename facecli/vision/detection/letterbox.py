"""A photo fitted into the detector's input, pixel for pixel as InsightFace does it, without a copy of the photo where none is needed."""

from __future__ import annotations

import functools
import threading

import cv2
import numpy as np
from msgspec import Struct

from facecli.types import ByteArray, FloatArray
from facecli.vision.pixels import View, copy_upright, pixel_values, view_of

KEPT_BYTES = 64_000_000
"""The largest buffer that a thread keeps for the next photo."""


class Fit(Struct, frozen=True):
    """The size that a photo is scaled to, and by how much."""

    width: int
    height: int
    scale: float
    """Pixels of the input for one pixel of the photo."""


def fit(height: int, width: int, side: tuple[int, int]) -> Fit:
    """Fit a photo of `height` and `width` into an input of `side` = (width, height).

    The truncations are those of insightface.model_zoo.scrfd; a scaled side is at least one pixel, where InsightFace's
    resize fails.
    """
    ratio = float(height) / width
    if ratio > float(side[1]) / side[0]:
        new_height = side[1]
        new_width = max(1, int(new_height / ratio))
        return Fit(new_width, new_height, float(new_height) / height)
    new_width = side[0]
    new_height = int(new_width * ratio)
    if new_height < 1:
        return Fit(new_width, 1, float(new_width) / width)
    return Fit(new_width, new_height, float(new_height) / height)


class Letterbox:
    """Writes photos into network inputs; each thread has its own buffers."""

    def __init__(self, mean: float, scale: float) -> None:
        self._values = pixel_values(mean, scale)
        self._own = threading.local()

    def fill(self, pixels: ByteArray, blob: FloatArray) -> Fit:
        """Scale a photo, uint8 (h, w, 3) RGB, into the upper left of `blob`, float32 (3, H, W) normalised; the rest becomes black."""
        height, width = blob.shape[1:]
        sizes = fit(pixels.shape[0], pixels.shape[1], (width, height))
        small = self._scale(pixels, sizes)
        planes = self._space("planes", small.size).reshape(3, sizes.height, sizes.width)
        cv2.split(small, list(planes))
        for plane, target in zip(planes, blob, strict=True):
            cv2.LUT(plane, self._values, target[: sizes.height, : sizes.width])
        blob[:, sizes.height :] = self._values[0]
        blob[:, : sizes.height, sizes.width :] = self._values[0]
        return sizes

    def _scale(self, pixels: ByteArray, sizes: Fit) -> ByteArray:
        view, size = view_of(pixels), (sizes.width, sizes.height)
        small = self._space("small", 3 * sizes.width * sizes.height).reshape(sizes.height, sizes.width, 3)
        if view.plain:
            cv2.resize(view.frame, size, small)
        elif not view.transposed and _flips_exactly(view, sizes):
            code = view.flip_code
            assert code is not None
            cv2.flip(cv2.resize(view.frame, size), code, small)
        else:
            cv2.resize(copy_upright(view, self._space("frame", pixels.size)), size, small)
        return small

    def _space(self, name: str, size: int) -> ByteArray:
        """A buffer of this thread, flat; what is too large to be kept is made anew."""
        if size > KEPT_BYTES:
            return np.empty(size, np.uint8)
        kept: dict[str, ByteArray] = self._own.__dict__
        if name not in kept or kept[name].size < size:
            kept[name] = np.empty(size, np.uint8)
        return kept[name][:size]


def _flips_exactly(view: View, sizes: Fit) -> bool:
    """Whether scaling the frame and flipping the result gives the very pixels of scaling the flipped frame."""
    height, width = view.frame.shape[:2]
    return (not view.flipped_y or _mirrors(height, sizes.height)) and (
        not view.flipped_x or _mirrors(width, sizes.width)
    )


@functools.lru_cache(maxsize=4096)
def _mirrors(length: int, scaled: int) -> bool:
    """Whether OpenCV scales a row of `length` pixels to `scaled` by weights that are the same from both ends.

    Its weights are rounded from positions in single precision, so most lengths give other weights from the other end;
    those of common cameras do not. Tried on noise, since the formula is OpenCV's own affair.
    """
    noise = np.random.default_rng(0).integers(0, 256, (64, length, 3), dtype=np.uint8)
    straight = cv2.resize(noise, (scaled, 64))
    return np.array_equal(straight, cv2.flip(cv2.resize(cv2.flip(noise, 1), (scaled, 64)), 1))
