"""SCRFD's post-processing in numpy: the anchors over the threshold become boxes and landmarks, and the best of each face stays.

The arithmetic, its order and its single precision are those of insightface.model_zoo.scrfd, so that the results are the
same to the bit. SCRFD: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.types import FloatArray

NMS_IOU = np.float32(0.4)
"""Two boxes that overlap by more are the same face."""


class Layout(Struct, frozen=True):
    """How a detector's outputs are ordered."""

    strides: tuple[int, ...]
    anchors: int
    """Anchors at each position."""
    landmarks: bool


LAYOUTS = {
    6: Layout((8, 16, 32), 2, landmarks=False),
    9: Layout((8, 16, 32), 2, landmarks=True),
    10: Layout((8, 16, 32, 64, 128), 1, landmarks=False),
    15: Layout((8, 16, 32, 64, 128), 1, landmarks=True),
}
"""By the number of outputs: the scores of each stride, then the boxes, then the landmarks."""


class Candidates(Struct, frozen=True, eq=False):
    """What a detector finds in one input, in the order of its anchors or by falling score."""

    boxes: FloatArray
    """float32 (n, 4): x1, y1, x2, y2."""
    scores: FloatArray
    """float32 (n,)."""
    landmarks: FloatArray
    """float32 (n, 5, 2)."""
    peak: float = 0.0
    """The best score of all anchors, whether it reached the threshold or not."""

    def select(self, chosen: NDArray[np.generic]) -> Candidates:
        """Those at `chosen`, a mask (n,) or integer indices."""
        return Candidates(self.boxes[chosen], self.scores[chosen], self.landmarks[chosen], self.peak)


def no_candidates(peak: float = 0.0) -> Candidates:
    """Nothing found."""
    return Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32), peak)


def join(parts: list[Candidates]) -> Candidates:
    """All candidates of `parts`, in their order."""
    peak = max((p.peak for p in parts), default=0.0)
    parts = [p for p in parts if len(p.scores)]
    if len(parts) < 2:
        return replace(parts[0], peak=peak) if parts else no_candidates(peak)
    boxes, scores = np.concatenate([p.boxes for p in parts]), np.concatenate([p.scores for p in parts])
    return Candidates(boxes, scores, np.concatenate([p.landmarks for p in parts]), peak)


def centres(chosen: NDArray[np.intp], width: int, stride: int, anchors: int) -> FloatArray:
    """The centres, float32 (n, 2) as x, y in pixels of the input, of the anchors `chosen` on a feature map `width` positions wide."""
    rows, rest = np.divmod(chosen, width * anchors)
    return (np.stack((rest // anchors, rows), axis=1) * stride).astype(np.float32)


def place(points: FloatArray, distances: FloatArray, offsets: FloatArray, scores: FloatArray) -> Candidates:
    """Turn what the network gives at some anchors into boxes and landmarks.

    points: float32 (n, 2), the anchors' centres. distances: float32 (n, 4), from the centre to the left, upper, right
    and lower edge. offsets: float32 (n, 10), from the centre to five landmarks. All in pixels of the input.
    """
    boxes = np.concatenate((points - distances[:, :2], points + distances[:, 2:]), axis=1)
    return Candidates(boxes, scores, points[:, None, :] + offsets.reshape(-1, 5, 2))


def decode(outputs: list[FloatArray], layout: Layout, width: int, threshold: float) -> Candidates:
    """The candidates of one input that reach `threshold`, in the order of the anchors.

    outputs: float32 (anchors, 1), (anchors, 4) and (anchors, 10), each for every stride. width: of the input, in
    pixels.
    """
    levels = len(layout.strides)
    parts = []
    for level, stride in enumerate(layout.strides):
        scores = outputs[level].reshape(-1)
        chosen = np.flatnonzero(scores >= threshold)
        distances = outputs[level + levels][chosen] * stride
        offsets = outputs[level + 2 * levels][chosen] * stride
        placed = place(centres(chosen, width // stride, stride, layout.anchors), distances, offsets, scores[chosen])
        parts.append(replace(placed, peak=float(scores.max())))
    return join(parts)


def to_photo(found: Candidates, scale: float) -> Candidates:
    """From pixels of the input to pixels of the photo, the best score first."""
    if not len(found.scores):
        return found
    order = np.argsort(-found.scores, kind="stable")
    return Candidates(found.boxes[order] / scale, found.scores[order], found.landmarks[order] / scale, found.peak)


def suppress(boxes: FloatArray) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: the indices that stay of `boxes`, float32 (n, 4), the best first.

    Areas count one pixel more on each side, as InsightFace's do.
    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    rest = np.arange(len(boxes))
    kept = []
    while rest.size:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        if not rest.size:
            break
        width = np.maximum(np.float32(0), np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1)
        height = np.maximum(np.float32(0), np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1)
        common = width * height
        rest = rest[common / (areas[best] + areas[rest] - common) <= NMS_IOU]
    return np.array(kept, np.intp)
