"""Memory layout of photos: find the contiguous frame under a flipped or transposed view."""

from __future__ import annotations

import cv2
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.types import ByteArray, FloatArray


class View(Struct, frozen=True, eq=False):
    """A photo: the frame in memory, and the transposition and flips (in this order) that make it upright."""

    frame: ByteArray
    """uint8 (h, w, 3), RGB, in OpenCV's layout: packed pixels, rows in ascending order."""
    transposed: bool
    flipped_y: bool
    flipped_x: bool

    @property
    def plain(self) -> bool:
        """Whether the frame is already upright."""
        return not (self.transposed or self.flipped_y or self.flipped_x)

    @property
    def flip_code(self) -> int | None:
        """The flip code of cv2.flip; None without flips."""
        return {(False, False): None, (True, False): 0, (False, True): 1, (True, True): -1}[
            self.flipped_y, self.flipped_x
        ]

    def to_frame(self) -> NDArray[np.float64]:
        """The float64 (3, 3) matrix that maps (x, y, 1) in the upright photo to (x, y, 1) in the frame, in pixels."""
        height, width = self.frame.shape[:2]
        if self.transposed:
            height, width = width, height
        unflip = np.array(
            [
                [-1.0 if self.flipped_x else 1.0, 0.0, width - 1.0 if self.flipped_x else 0.0],
                [0.0, -1.0 if self.flipped_y else 1.0, height - 1.0 if self.flipped_y else 0.0],
                [0.0, 0.0, 1.0],
            ]
        )
        return unflip[[1, 0, 2]] if self.transposed else unflip


def view_of(pixels: ByteArray) -> View:
    """Find the frame, flips and transposition of `pixels`, uint8 (h, w, 3) RGB with any strides.

    Nothing is copied, except where OpenCV cannot read the layout in place: then the frame is a contiguous, upright
    copy.
    """
    flipped_y, flipped_x = pixels.strides[0] < 0, pixels.strides[1] < 0
    frame = pixels[:: -1 if flipped_y else 1, :: -1 if flipped_x else 1]
    transposed = frame.strides[0] < frame.strides[1]
    if transposed:
        frame = frame.transpose(1, 0, 2)
    if frame.strides[1:] != (3, 1) or frame.strides[0] < 3 * frame.shape[1]:
        return View(np.ascontiguousarray(pixels), transposed=False, flipped_y=False, flipped_x=False)
    return View(frame, transposed, flipped_y, flipped_x)


def copy_upright(view: View, space: ByteArray) -> ByteArray:
    """Copy the photo upright into `space` and return it as contiguous uint8 (h, w, 3).

    space: uint8 (h * w * 3,), contiguous.
    """
    height, width = view.frame.shape[:2]
    target = space.reshape((width, height, 3) if view.transposed else (height, width, 3))
    code = view.flip_code
    if view.transposed:
        cv2.transpose(view.frame, target)
        return target if code is None else cv2.flip(target, code, target)  # type: ignore[return-value]
    if code is None:
        np.copyto(target, view.frame)
        return target
    return cv2.flip(view.frame, code, target)  # type: ignore[return-value]


def pixel_values(mean: float, scale: float) -> FloatArray:
    """Look-up table, float32 (256,): (value - mean) * scale for each pixel value, in single precision.

    InsightFace computes in single precision too.
    """
    return ((np.arange(256, dtype=np.float32) - np.float32(mean)) * np.float32(scale)).astype(np.float32)
