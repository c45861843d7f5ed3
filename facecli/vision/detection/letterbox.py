"""Letterbox a photo into the detector's input, with the same pixels as InsightFace and as few copies as possible."""

from __future__ import annotations

import functools
import threading
from typing import Any

import cv2
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.types import ByteArray
from facecli.vision.pixels import View, copy_upright, pixel_values, view_of

KEPT_BYTES = 64_000_000
"""Bytes of the largest buffer that a thread keeps for the next photo."""


class Fit(Struct, frozen=True):
    """The size that a photo is scaled to, in pixels of the input."""

    width: int
    height: int
    scale: float
    """Pixels of the input per pixel of the photo."""


def fit(height: int, width: int, side: tuple[int, int]) -> Fit:
    """Fit a photo of `height` and `width` pixels into an input of `side` = (width, height) pixels.

    Rounds down where insightface.model_zoo.scrfd does. A scaled side is at least 1 pixel; where it would be 0,
    InsightFace fails.
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

    def fill(self, pixels: ByteArray, blob: NDArray[Any]) -> Fit:
        """Scale a photo into the upper left of `blob`, and fill the rest as if it were black.

        pixels: uint8 (h, w, 3), RGB, any strides. blob, written in place: uint8 (H, W, 3) for pixels, or float32
        (3, H, W) for normalised values.
        """
        if blob.dtype == np.uint8:
            return self._fill_pixels(pixels, blob)
        height, width = blob.shape[1:]
        sizes = fit(pixels.shape[0], pixels.shape[1], (width, height))
        small = self._space("small", 3 * sizes.width * sizes.height).reshape(sizes.height, sizes.width, 3)
        self._scale(pixels, sizes, small)
        planes = self._space("planes", small.size).reshape(3, sizes.height, sizes.width)
        cv2.split(small, list(planes))
        for plane, target in zip(planes, blob, strict=True):
            cv2.LUT(plane, self._values, target[: sizes.height, : sizes.width])
        blob[:, sizes.height :] = self._values[0]
        blob[:, : sizes.height, sizes.width :] = self._values[0]
        return sizes

    def _fill_pixels(self, pixels: ByteArray, blob: ByteArray) -> Fit:
        height, width = blob.shape[:2]
        sizes = fit(pixels.shape[0], pixels.shape[1], (width, height))
        self._scale(pixels, sizes, blob[: sizes.height, : sizes.width])
        blob[sizes.height :] = 0
        blob[: sizes.height, sizes.width :] = 0
        return sizes

    def _scale(self, pixels: ByteArray, sizes: Fit, target: ByteArray) -> None:
        """Scale a photo into `target`, uint8 (height, width, 3)."""
        view, size = view_of(pixels), (sizes.width, sizes.height)
        if view.plain:
            cv2.resize(view.frame, size, target)
        elif not view.transposed and _flips_exactly(view, sizes):
            code = view.flip_code
            assert code is not None
            cv2.flip(cv2.resize(view.frame, size), code, target)
        else:
            cv2.resize(copy_upright(view, self._space("frame", pixels.size)), size, target)

    def _space(self, name: str, size: int) -> ByteArray:
        """This thread's buffer, uint8 (size,); one of more than KEPT_BYTES is allocated each time."""
        if size > KEPT_BYTES:
            return np.empty(size, np.uint8)
        kept: dict[str, ByteArray] = self._own.__dict__
        if name not in kept or kept[name].size < size:
            kept[name] = np.empty(size, np.uint8)
        return kept[name][:size]


def _flips_exactly(view: View, sizes: Fit) -> bool:
    """Whether flipping after scaling gives exactly the same pixels as scaling the flipped frame."""
    height, width = view.frame.shape[:2]
    return (not view.flipped_y or _mirrors(height, sizes.height)) and (
        not view.flipped_x or _mirrors(width, sizes.width)
    )


@functools.lru_cache(maxsize=4096)
def _mirrors(length: int, scaled: int) -> bool:
    """Whether OpenCV's weights for scaling `length` pixels to `scaled` are the same from both ends.

    OpenCV rounds the weights from positions in single precision, so they differ for most lengths, but not for those of
    common cameras. Measured on noise, because the formula is an implementation detail of OpenCV.
    """
    noise = np.random.default_rng(0).integers(0, 256, (64, length, 3), dtype=np.uint8)
    straight = cv2.resize(noise, (scaled, 64))
    return np.array_equal(straight, cv2.flip(cv2.resize(cv2.flip(noise, 1), (scaled, 64)), 1))
