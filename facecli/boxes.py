"""Overlap of boxes, computed in the precision of the input."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.floating[Any])


def overlaps(boxes: NDArray[Number], others: NDArray[Number]) -> NDArray[Number]:
    """Intersection over union of each pair of boxes.

    `boxes` is float (n, 4) and `others` float (m, 4): x1, y1, x2, y2 in pixels. The result is (n, m) in the same dtype,
    0 to 1, and 0 where neither box has an area.
    """
    common = _intersections(boxes, others)
    union = _areas(boxes)[:, None] + _areas(others)[None, :] - common
    shares: NDArray[Number] = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return shares


def covered(boxes: NDArray[Number], others: NDArray[Number]) -> NDArray[Number]:
    """Share of the area of each box that lies in each other box.

    `boxes` is float (n, 4) and `others` float (m, 4): x1, y1, x2, y2 in pixels. The result is (n, m) in the same dtype,
    0 to 1, and 0 for a box without an area.
    """
    common, areas = _intersections(boxes, others), _areas(boxes)[:, None]
    shares: NDArray[Number] = np.divide(common, areas, out=np.zeros_like(common), where=areas > 0)
    return shares


def _intersections(boxes: NDArray[Number], others: NDArray[Number]) -> NDArray[Number]:
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    common: NDArray[Number] = np.prod(np.maximum(high - low, 0), axis=2)
    return common


def _areas(boxes: NDArray[Number]) -> NDArray[Number]:
    areas: NDArray[Number] = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)
    return areas
