"""Other ways to look at a photo than whole and upright: turned by right angles, and in overlapping tiles. Pure geometry."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.types import ByteArray, FloatArray
from facecli.vision.scrfd import Candidates

QUARTERS = (1, 2, 3)
"""Turns by 90 degrees, counterclockwise."""
OVERLAP = 0.15
"""Of a tile's side: a face up to that size lies whole in some tile. Larger ones are found in the whole photo, where they have 20 pixels at least."""
EDGE = 1 / 320
"""A box that comes so near to a tile's inner edge, in sides of the tile, may be cut off by it."""
WORTH = 1.25
"""A photo whose longer side has no more than so many sides of the input shows nothing new in tiles."""
INPUTS = 8.3
"""The most pixels that tiles show, in areas of the input: photos of usual shapes have twelve tiles at most."""
STRIP = 3
"""A photo that is so many times as long as it is wide is a strip."""
NARROWEST = 16
"""The shorter side, in pixels, of a strip that may hold a face."""


class Tile(Struct, frozen=True):
    """A part of a photo."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, pixels: ByteArray) -> ByteArray:
        """The tile's pixels, a view."""
        return pixels[self.top : self.bottom, self.left : self.right]


def turn(pixels: NDArray[Any], quarters: int, axes: tuple[int, int] = (0, 1)) -> NDArray[Any]:
    """A photo, or an input whose rows and columns are the axes `axes`, turned counterclockwise, as a view."""
    return np.rot90(pixels, quarters, axes)


def turn_back(found: Candidates, quarters: int, height: int, width: int) -> Candidates:
    """From a turned photo to the upright one of `height` and `width`: pixel centres fall on pixel centres."""
    corners = _turn_points(found.boxes.reshape(-1, 2, 2), quarters, height, width)
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    return Candidates(boxes, found.scores, _turn_points(found.landmarks, quarters, height, width), found.peak)


def _turn_points(points: FloatArray, quarters: int, height: int, width: int) -> FloatArray:
    x, y = points[..., 0], points[..., 1]
    turned = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}[quarters]
    return np.stack(turned, axis=-1).astype(np.float32)


def tile_side(height: int, width: int, side: int) -> int:
    """The side of a photo's tiles in its pixels: that of the input, so that nothing is scaled, and more in photos of very many pixels."""
    enlarged = side * max(1.0, math.sqrt(height * width / (INPUTS * side * side)))
    return round(min(enlarged, max(side, min(height, width))))


def is_strip(height: int, width: int) -> bool:
    """Whether a photo is so long, as panoramas are, that little of it is left when the whole is fitted into a square."""
    return max(height, width) >= STRIP * min(height, width)


def tiles_of(height: int, width: int, side: int, *, small_faces: bool) -> list[Tile]:
    """Overlapping tiles that cover a photo, for an input of `side`; none where they could show nothing new.

    Tiles for `small_faces` are as small as the input; without, there are only the squares that a strip is cut into.
    """
    if max(height, width) <= WORTH * side or min(height, width) < NARROWEST or not (small_faces or is_strip(height, width)):
        return []
    side = tile_side(height, width, side) if small_faces else max(side, min(height, width))
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
    across, down = tile.right - tile.left, tile.bottom - tile.top
    edge = EDGE * max(across, down)
    cut = (x1 < edge) & (tile.left > 0) | (y1 < edge) & (tile.top > 0)
    cut |= (x2 > across - edge) & (tile.right < width) | (y2 > down - edge) & (tile.bottom < height)
    shift = np.array([tile.left, tile.top], np.float32)
    placed = Candidates(found.boxes + np.tile(shift, 2), found.scores, found.landmarks + shift, found.peak)
    return placed.select(~cut)
