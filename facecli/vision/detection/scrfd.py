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
FAR = 1e9
"""Further away than any place in a picture, in pixels."""


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
    """Detections in one input or photo, in anchor order or by descending score; in pixels of the input or the photo."""

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


class BatchCandidates(Struct, frozen=True, eq=False):
    """Detections in a batch of inputs, in anchor order or by descending score within each input."""

    boxes: FloatArray
    """float32 (n, 4): x1, y1, x2, y2 in pixels of the input, or of the photo."""
    scores: FloatArray
    """float32 (n,)."""
    landmarks: FloatArray
    """float32 (n, 5, 2): x, y."""
    owner: NDArray[np.intp]
    """intp (n,): the number of the input."""
    peaks: FloatArray
    """float (inputs,): the best score of all anchors of each input, even if below the threshold."""

    def select(self, chosen: NDArray[np.generic]) -> BatchCandidates:
        """The candidates at `chosen`, a mask bool (n,) or integer indices."""
        return BatchCandidates(
            self.boxes[chosen], self.scores[chosen], self.landmarks[chosen], self.owner[chosen], self.peaks
        )

    def split(self) -> list[Candidates]:
        """The candidates of each input; those of one input must stand together, by ascending number of the input."""
        ends = np.searchsorted(self.owner, np.arange(1, len(self.peaks) + 1)).tolist()
        return [
            Candidates(self.boxes[start:end], self.scores[start:end], self.landmarks[start:end], peak)
            for start, end, peak in zip([0, *ends], ends, self.peaks.tolist(), strict=False)
        ]


def no_candidates(peak: float = 0.0) -> Candidates:
    """An empty set of candidates."""
    return Candidates(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32), peak)


def join(parts: list[Candidates]) -> Candidates:
    """Concatenate candidates of one photo, in order."""
    peak = max((p.peak for p in parts), default=0.0)
    parts = [p for p in parts if len(p.scores)]
    if len(parts) < 2:
        return replace(parts[0], peak=peak) if parts else no_candidates(peak)
    boxes, scores = np.concatenate([p.boxes for p in parts]), np.concatenate([p.scores for p in parts])
    return Candidates(boxes, scores, np.concatenate([p.landmarks for p in parts]), peak)


def join_inputs(parts: list[Candidates]) -> BatchCandidates:
    """Put the candidates of several inputs together as a batch."""
    owner = np.repeat(np.arange(len(parts)), [len(part.scores) for part in parts])
    joined = join(parts)
    return BatchCandidates(
        joined.boxes, joined.scores, joined.landmarks, owner, np.array([part.peak for part in parts])
    )


def join_levels(levels: list[BatchCandidates]) -> BatchCandidates:
    """Concatenate the candidates of the strides of one batch, in order; those that are nowhere are left out."""
    peaks = np.max([level.peaks for level in levels], axis=0)
    levels = [level for level in levels if len(level.scores)] or levels[:1]
    if len(levels) == 1:
        return _sound(replace(levels[0], peaks=peaks))
    boxes, scores = np.concatenate([p.boxes for p in levels]), np.concatenate([p.scores for p in levels])
    landmarks, owner = np.concatenate([p.landmarks for p in levels]), np.concatenate([p.owner for p in levels])
    return _sound(BatchCandidates(boxes, scores, landmarks, owner, peaks))


def _sound(found: BatchCandidates) -> BatchCandidates:
    """Those with places in a picture: a broken network's may be infinite, or no numbers."""
    places = np.concatenate((found.boxes, found.landmarks.reshape(-1, 10)), axis=1)
    return found.select(np.flatnonzero((np.abs(places) < FAR).all(axis=1)))


def centres(chosen: NDArray[np.intp], width: int, stride: int, anchors: int) -> FloatArray:
    """Centres of the anchors `chosen`, float32 (n, 2) as x, y in pixels of the input.

    chosen: indices in anchor order. width: positions in a row of the feature map. anchors: per position.
    """
    rows, rest = np.divmod(chosen, width * anchors)
    return (np.stack((rest // anchors, rows), axis=1) * stride).astype(np.float32)


def place(points: FloatArray, distances: FloatArray, offsets: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Compute boxes, float32 (n, 4), and landmarks, float32 (n, 5, 2), from the network's output at some anchors.

    points: float32 (n, 2), the anchors' centres. distances: float32 (n, 4), from the centre to the left, top, right and
    bottom edge. offsets: float32 (n, 10), from the centre to the five landmarks. All in pixels of the input.
    """
    boxes = np.concatenate((points - distances[:, :2], points + distances[:, 2:]), axis=1)
    return boxes, points[:, None, :] + offsets.reshape(-1, 5, 2)


def decode(outputs: list[FloatArray], layout: Layout, width: int, threshold: float) -> BatchCandidates:
    """The candidates of a batch that reach `threshold`, by stride, then by input, then in anchor order.

    outputs: float32 (inputs, anchors, 1), (inputs, anchors, 4) and (inputs, anchors, 10), each for every stride,
    distances in units of the stride. width: of the input, in pixels.
    """
    levels = len(layout.strides)
    parts = []
    for level, stride in enumerate(layout.strides):
        scores = outputs[level].reshape(len(outputs[level]), -1)
        owner, chosen = np.divmod(np.flatnonzero(scores >= threshold), scores.shape[1])
        distances = outputs[level + levels][owner, chosen] * stride
        offsets = outputs[level + 2 * levels][owner, chosen] * stride
        placed = place(centres(chosen, width // stride, stride, layout.anchors), distances, offsets)
        parts.append(BatchCandidates(placed[0], scores[owner, chosen], placed[1], owner, scores.max(axis=1)))
    return join_levels(parts)


def to_photos(found: BatchCandidates, scales: FloatArray) -> BatchCandidates:
    """Convert from pixels of the inputs to pixels of the photos, and sort by photo and descending score.

    scales: float32 (inputs,), pixels of the input per pixel of the photo.
    """
    order = np.lexsort((-found.scores, found.owner))
    owner = found.owner[order]
    scale = scales[owner]
    boxes, landmarks = found.boxes[order] / scale[:, None], found.landmarks[order] / scale[:, None, None]
    return BatchCandidates(boxes, found.scores[order], landmarks, owner, found.peaks)


def suppress(boxes: FloatArray, owner: NDArray[np.intp]) -> NDArray[np.intp]:
    """Greedy non-maximum suppression within each photo: indices, intp (m,), ascending, of the boxes to keep.

    boxes: float32 (n, 4) as x1, y1, x2, y2, by photo and descending score. owner: intp (n,), ascending, the number of
    the photo. Widths and heights count one extra pixel, as in InsightFace. Each round keeps the best box that is left
    of every photo.
    """
    x1, y1, x2, y2 = boxes.T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    rest = np.arange(len(boxes))
    kept = [rest[:0]]
    while rest.size:
        is_best = np.ones(len(rest), np.bool_)
        np.not_equal(owner[rest[1:]], owner[rest[:-1]], out=is_best[1:])
        heads = rest[is_best]
        kept.append(heads)
        if len(heads) == len(rest):
            break
        best, rest = heads[np.cumsum(is_best) - 1][~is_best], rest[~is_best]
        width = np.maximum(np.float32(0), np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1)
        height = np.maximum(np.float32(0), np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1)
        common = width * height
        rest = rest[common / (areas[best] + areas[rest] - common) <= NMS_IOU]
    return np.sort(np.concatenate(kept))


def best_of(found: BatchCandidates, scales: FloatArray) -> list[Candidates]:
    """The candidates of each photo in pixels of the photo, one for each face, by descending score.

    scales: float32 (inputs,), pixels of the input per pixel of the photo.
    """
    if len(found.scores):
        found = to_photos(found, scales)
        found = found.select(suppress(found.boxes, found.owner))
    return found.split()
