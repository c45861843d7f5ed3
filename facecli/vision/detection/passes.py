"""Other ways to look at a photo than whole and upright: turned by right angles, and in overlapping tiles. Pure geometry."""

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
"""Turns by 90 degrees, counterclockwise."""
OVERLAP = 0.15
"""Of a tile's side, at the least. A face up to that size lies whole in some tile; larger ones are found in a coarser
look."""
SEEN = 20
"""Pixels of the input that a face has to be wide to be found wherever it stands."""
TALL = 1.4
"""The height of an upright face, in its widths."""
COARSER = 5
"""How many times as large the squares are that a long strip is cut into for its large faces."""
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


def tiles_of(height: int, width: int, side: int, *, small_faces: bool) -> list[list[Tile]]:
    """The looks at parts of a photo, the coarsest first, for an input of `side`: overlapping tiles that cover it; none where they show nothing new.

    Tiles for `small_faces` are as small as the input; without, there are only the squares that a strip is cut into.
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
    """The sides and overlaps of the squares that a strip is cut into, the coarsest first.

    Two neighbours have as much in common as the largest face measures that the next coarser look, at last the one at
    the whole photo, does not see, and never less than OVERLAP. So every face lies whole in a square in which it is
    large enough, wherever it stands.
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
    """Where tiles begin along an axis: evenly, the last one ending with it."""
    if length <= side:
        return [0]
    count = 1 + math.ceil((length - side) / (side - overlap))
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
