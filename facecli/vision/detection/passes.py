"""Geometry of the further passes: photos rotated by right angles, and overlapping tiles."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.types import ByteArray, FloatArray
from facecli.vision.detection.scrfd import Candidates

QUARTERS = (1, 2, 3)
"""Rotations in steps of 90 degrees, counterclockwise."""
OVERLAP = 0.15
"""Least overlap of tiles, as a share of their side. A face up to that size lies whole in some tile; larger ones are
found in a coarser pass."""
SEEN = 20
"""Width in pixels of the input from which on a face is found at any position."""
TALL = 1.4
"""Height of an upright face, in widths."""
COARSER = 5
"""Squares for the large faces of a long strip are this many times as large as the finest ones."""
EDGE = 1 / 320
"""A box this close to a tile's inner edge, in sides of the tile, may be cut off by it."""
WORTH = 1.25
"""Tiles show nothing new in a photo whose longer side is at most this many sides of the input."""
INPUTS = 8.3
"""The most pixels that tiles show, in areas of the input: photos of common shapes have twelve tiles at most."""
STRIP = 3
"""A photo at least this many times as long as wide is a strip."""
NARROWEST = 16
"""Shorter side, in pixels, from which on a strip may hold a face."""


class Tile(Struct, frozen=True):
    """A rectangular part of a photo, in pixels; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    def cut(self, pixels: ByteArray) -> ByteArray:
        """A view of the tile's pixels, (height, width, channels) with the dtype and colour order of `pixels`."""
        return pixels[self.top : self.bottom, self.left : self.right]


def turn(pixels: NDArray[Any], quarters: int, axes: tuple[int, int] = (0, 1)) -> NDArray[Any]:
    """Rotate a photo, or an input with rows and columns in `axes`, counterclockwise by `quarters` * 90 degrees; a view.

    pixels: any shape and dtype; the result has the same dtype.
    """
    return np.rot90(pixels, quarters, axes)


def turn_back(found: Candidates, quarters: int, height: int, width: int) -> Candidates:
    """Map candidates from a rotated photo to the upright one, of `height` and `width` pixels.

    Pixel centres map to pixel centres.
    """
    corners = _turn_points(found.boxes.reshape(-1, 2, 2), quarters, height, width)
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    return Candidates(boxes, found.scores, _turn_points(found.landmarks, quarters, height, width), found.peak)


def _turn_points(points: FloatArray, quarters: int, height: int, width: int) -> FloatArray:
    x, y = points[..., 0], points[..., 1]
    turned = {1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}[quarters]
    return np.stack(turned, axis=-1).astype(np.float32)


def tile_side(height: int, width: int, side: int) -> int:
    """Side of a photo's tiles, in pixels of the photo.

    It equals the side of the input, so that nothing is scaled; it is larger in photos with very many pixels.
    """
    enlarged = side * max(1.0, math.sqrt(height * width / (INPUTS * side * side)))
    return round(min(enlarged, max(side, min(height, width))))


def is_strip(height: int, width: int) -> bool:
    """Whether a photo is so long, like a panorama, that it becomes tiny when the whole is fitted into a square."""
    return max(height, width) >= STRIP * min(height, width)


def tiles_of(height: int, width: int, side: int, *, small_faces: bool) -> list[list[Tile]]:
    """Overlapping tiles that cover a photo, one list per pass, the coarsest first; empty if tiles show nothing new.

    `side` is that of the input. With `small_faces` the tiles of the last pass are as small as the input; without, there
    are only the squares that a strip is divided into.
    """
    if (
        max(height, width) <= WORTH * side
        or min(height, width) < NARROWEST
        or not (small_faces or is_strip(height, width))
    ):
        return []
    finest = tile_side(height, width, side) if small_faces else max(side, min(height, width))
    if not is_strip(height, width):
        return [_tiles(height, width, finest, OVERLAP * finest)]
    return [_tiles(height, width, tile, overlap) for tile, overlap in _squares(height, width, side, finest)]


def _squares(height: int, width: int, side: int, finest: int) -> list[tuple[int, float]]:
    """Sides and overlaps of the squares that a strip is divided into, in pixels, the coarsest first.

    Two neighbours overlap by the size of the largest face that the next coarser pass (in the end the pass over the
    whole photo) misses, and by at least OVERLAP. So every face lies whole in a square in which it is large enough, at
    any position.
    """
    longer, shorter = max(height, width), min(height, width)
    sides = [longer, COARSER * finest, finest] if longer > COARSER * finest else [longer, finest]
    found = []
    for coarser, tile in itertools.pairwise(sides):
        unseen = TALL * min(SEEN * coarser / side, shorter)
        found.append((tile, max(OVERLAP * tile, unseen + 2 * EDGE * tile)))
    return found


def _tiles(height: int, width: int, side: int, overlap: float) -> list[Tile]:
    starts = itertools.product(_starts(height, side, overlap), _starts(width, side, overlap))
    return [Tile(x, y, min(x + side, width), min(y + side, height)) for y, x in starts]


def _starts(length: int, side: int, overlap: float) -> list[int]:
    """Start positions of tiles along an axis: evenly spaced, the last tile ends at the end of the axis."""
    if length <= side:
        return [0]
    count = 1 + math.ceil((length - side) / (side - overlap))
    return [round(i * (length - side) / (count - 1)) for i in range(count)]


def place_tile(found: Candidates, tile: Tile, height: int, width: int) -> Candidates:
    """Map candidates from a tile to its photo, of `height` and `width` pixels.

    Candidates that an inner edge of the tile may have cut off are dropped; another tile shows them whole.
    """
    x1, y1, x2, y2 = found.boxes.T
    across, down = tile.right - tile.left, tile.bottom - tile.top
    edge = EDGE * max(across, down)
    cut = (x1 < edge) & (tile.left > 0) | (y1 < edge) & (tile.top > 0)
    cut |= (x2 > across - edge) & (tile.right < width) | (y2 > down - edge) & (tile.bottom < height)
    shift = np.array([tile.left, tile.top], np.float32)
    placed = Candidates(found.boxes + np.tile(shift, 2), found.scores, found.landmarks + shift, found.peak)
    return placed.select(~cut)
