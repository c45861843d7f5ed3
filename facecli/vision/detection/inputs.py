"""The detector's inputs for a batch of photos, filled in place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.types import ByteArray, FloatArray
from facecli.vision.detection.letterbox import Letterbox
from facecli.vision.runtime.batches import Batches

Side = tuple[int, int]


class Inputs:
    """Arrays for a batch of photos at several sizes; one batch uses them at a time.

    Several threads may fill the rows of different photos.
    """

    def __init__(self, batches: Batches, letterbox: Letterbox, sides: Sequence[Side], rows: int) -> None:
        """Allocate `rows` inputs at each of `sides`, (width, height) in pixels.

        Arrays hold uint8 pixels (n, h, w, 3) or float32 normalised values (n, 3, h, w), as the network takes them.
        """
        self.rows = rows
        self._letterbox, self._blank, self._pixels = letterbox, batches.blank, batches.session.input.pixels
        self._sides = tuple(sides)
        self._arrays: dict[Side, NDArray[Any]] = {}
        self._scales: dict[Side, FloatArray] = {}
        self._upright: dict[Side, NDArray[Any]] = {}
        for side in sides:
            self.array(side)

    @property
    def spatial_axes(self) -> tuple[int, int]:
        """The axes of rows and columns in one input."""
        return (0, 1) if self._pixels else (1, 2)

    def array(self, side: Side) -> NDArray[Any]:
        """The inputs of a size, `rows` of them."""
        if side not in self._arrays:
            self._arrays[side] = self._blank((self.rows, *self._shape(side)), self._kind)
            self._scales[side] = np.ones(self.rows, np.float32)
        return self._arrays[side]

    def scales(self, side: Side) -> FloatArray:
        """Pixels of the input per pixel of the photo: float32 (rows,)."""
        return self._scales[side]

    def fill_all(self, number: int, photo: ByteArray) -> None:
        """Fit a photo, uint8 (h, w, 3) RGB with any strides, into row `number` of the inputs of every first pass."""
        for side in self._sides:
            self.fill(number, photo, side)

    def fill(self, number: int, photo: ByteArray, side: Side) -> None:
        """Fit a photo into row `number` of the inputs of a size."""
        array = self.array(side)
        self._scales[side][number] = self._letterbox.fill(photo, array[number]).scale

    def upright(self, photo: ByteArray, side: Side) -> NDArray[Any]:
        """A photo fitted into an input apart from the batch, valid until the next call."""
        if side not in self._upright:
            self._upright[side] = np.empty(self._shape(side), self._kind)
        self._letterbox.fill(photo, self._upright[side])
        return self._upright[side]

    @property
    def _kind(self) -> np.dtype[Any]:
        return np.dtype(np.uint8 if self._pixels else np.float32)

    def _shape(self, side: Side) -> tuple[int, ...]:
        return (side[1], side[0], 3) if self._pixels else (3, side[1], side[0])
