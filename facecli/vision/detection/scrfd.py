"""SCRFD's post-processing in numpy: decode anchors above the threshold, then non-maximum suppression.

Arithmetic, order of operations and single precision are those of insightface.model_zoo.scrfd, so the results are
bit-identical. SCRFD: Guo et al., "Sample and Computation Redistribution for Efficient Face Detection", 2021.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.types import FloatArray

NMS_IOU = np.float32(0.4)
"""Two boxes with a larger intersection over union are the same face."""


class Layout(Struct, frozen=True):
    """Order of a detector's outputs."""

    strides: tuple[int, ...]
    anchors: int
    """Anchors per position."""
    landmarks: bool


LAYOUTS = {
    6: Layout((8, 16, 32), 2, landmarks=False),
    9: Layout((8, 16, 32), 2, landmarks=True),
    10: Layout((8, 16, 32, 64, 128), 1, landmarks=False),
    15: Layout((8, 16, 32, 64, 128), 1, landmarks=True),
}
"""Layouts by the number of outputs: the scores of each stride, then the boxes, then the landmarks."""


class Candidates(Struct, frozen=True, eq=False):
    """Detections in one input, in anchor order or by descending score; in pixels of the input or of the photo."""

    boxes: FloatArray
    """float32 (n, 4): x1, y1, x2, y2."""
    scores: FloatArray
    """float32 (n,)."""
    landmarks: FloatArray
    """float32 (n, 5, 2): x, y."""
    peak: float = 0.0
    """The best score of all anchors, even if below the threshold."""

    def select(self, chosen: NDArray[np.generic]) -> Candidates:
        """The candidates at `chosen`, a mask bool (n,) or integer indices."""
        return Candidates(self.boxes[chosen], self.scores[chosen], self.landmarks[chosen], self.peak)


def no_candidates(peak: float = 0.0) -> Candidates:
    """An empty set of candidates."""
    return Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32), peak)


def join(parts: list[Candidates]) -> Candidates:
    """Concatenate candidates, in order."""
    peak = max((p.peak for p in parts), default=0.0)
    parts = [p for p in parts if len(p.scores)]
    if len(parts) < 2:
        return replace(parts[0], peak=peak) if parts else no_candidates(peak)
    boxes, scores = np.concatenate([p.boxes for p in parts]), np.concatenate([p.scores for p in parts])
    return Candidates(boxes, scores, np.concatenate([p.landmarks for p in parts]), peak)


def centres(chosen: NDArray[np.intp], width: int, stride: int, anchors: int) -> FloatArray:
    """Centres of the anchors `chosen`, float32 (n, 2) as x, y in pixels of the input.

    chosen: indices in anchor order. width: positions in a row of the feature map. anchors: per position.
    """
    rows, rest = np.divmod(chosen, width * anchors)
    return (np.stack((rest // anchors, rows), axis=1) * stride).astype(np.float32)


def place(points: FloatArray, distances: FloatArray, offsets: FloatArray, scores: FloatArray) -> Candidates:
    """Compute boxes and landmarks from the network's output at some anchors.

    points: float32 (n, 2), the anchors' centres. distances: float32 (n, 4), from the centre to the left, top, right and
    bottom edge. offsets: float32 (n, 10), from the centre to the five landmarks. scores: float32 (n,). All coordinates
    in pixels of the input.
    """
    boxes = np.concatenate((points - distances[:, :2], points + distances[:, 2:]), axis=1)
    return Candidates(boxes, scores, points[:, None, :] + offsets.reshape(-1, 5, 2))


def decode(outputs: list[FloatArray], layout: Layout, width: int, threshold: float) -> Candidates:
    """The candidates of one input that reach `threshold`, in anchor order and in pixels of the input.

    outputs: float32 (anchors, 1), (anchors, 4) and (anchors, 10), each for every stride, distances in units of the
    stride. width: of the input, in pixels.
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
    """Convert from pixels of the input to pixels of the photo, and sort by descending score.

    scale: pixels of the input per pixel of the photo.
    """
    if not len(found.scores):
        return found
    order = np.argsort(-found.scores, kind="stable")
    return Candidates(found.boxes[order] / scale, found.scores[order], found.landmarks[order] / scale, found.peak)


def suppress(boxes: FloatArray) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: indices, intp (m,), of the boxes to keep.

    boxes: float32 (n, 4) as x1, y1, x2, y2, by descending score. Widths and heights count one extra pixel, as in
    InsightFace.
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
