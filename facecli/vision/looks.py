"""Other ways to look at a photo than whole and upright: turned by right angles, and in overlapping tiles. Pure geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facecli.types import ByteArray, FloatArray
from facecli.vision.scrfd import Candidates

QUARTERS = (1, 2, 3)
"""Turns by 90 degrees, counterclockwise."""
OVERLAP = 0.25
"""Of a tile's side: a face up to that size lies whole in some tile."""
EDGE = 2.0
"""A box that comes so near to a tile's inner edge, in pixels, may be cut off by it."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A part of a photo."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, pixels: ByteArray) -> ByteArray:
        """The tile's pixels, a view."""
        return pixels[self.top : self.bottom, self.left : self.right]


def turn(pixels: ByteArray, quarters: int) -> ByteArray:
    """A photo turned counterclockwise, as a view."""
    return np.rot90(pixels, quarters)


def turn_back(found: Candidates, quarters: int, height: int, width: int) -> Candidates:
    """From a turned photo to the upright one of `height` and `width`: pixel centres fall on pixel centres."""
    corners = _turn_points(found.boxes.reshape(-1, 2, 2), quarters, height, width)
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    return Candidates(boxes, found.scores, _turn_points(found.landmarks, quarters, height, width))


def _turn_points(points: FloatArray, quarters: int, height: int, width: int) -> FloatArray:
    x, y = points[..., 0], points[..., 1]
    turned = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}[quarters]
    return np.stack(turned, axis=-1).astype(np.float32)


def tiles_of(height: int, width: int, side: int) -> list[Tile]:
    """Overlapping tiles of at most `side` that cover a photo; none where one tile is the whole of it."""
    if max(height, width) <= side:
        return []
    return [Tile(x, y, min(x + side, width), min(y + side, height)) for y in _starts(height, side) for x in _starts(width, side)]


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along an axis: evenly, the last one ending with it."""
    if length <= side:
        return [0]
    count = 1 + int(np.ceil((length - side) / (side * (1 - OVERLAP))))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def place_tile(found: Candidates, tile: Tile, height: int, width: int) -> Candidates:
    """From a tile to its photo of `height` and `width`, without what the tile's inner edges may have cut off; another tile has that whole."""
    x1, y1, x2, y2 = found.boxes.T
    cut = (x1 < EDGE) & (tile.left > 0) | (y1 < EDGE) & (tile.top > 0)
    cut |= (x2 > tile.right - tile.left - EDGE) & (tile.right < width) | (y2 > tile.bottom - tile.top - EDGE) & (tile.bottom < height)
    shift = np.array([tile.left, tile.top], np.float32)
    placed = Candidates(found.boxes + np.tile(shift, 2), found.scores, found.landmarks + shift)
    return placed.select(~cut)
