"""Run a detector: evaluate all output heads, or boxes and landmarks only at anchors with a sufficient score."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.types import FloatArray
from facecli.vision.detection import scrfd
from facecli.vision.detection.scrfd import BatchCandidates, Candidates, Layout
from facecli.vision.runtime.session import Session

ONE_THREAD = 200_000
"""Multiplications below which numpy's BLAS stays in the caller's thread; it must not start threads of its own here."""
ROWS_AROUND = np.repeat(np.arange(-1, 2), 3)
COLUMNS_AROUND = np.tile(np.arange(-1, 2), 3)


class HeadWeights(Struct, frozen=True, eq=False):
    """Weights of the last convolutions of one stride: 3x3 over the feature map, padding 1."""

    boxes: FloatArray
    """float32 (anchors * 4, channels, 3, 3)."""
    boxes_bias: FloatArray
    """float32 (anchors * 4,)."""
    landmarks: FloatArray
    """float32 (anchors * 10, channels, 3, 3)."""
    landmarks_bias: FloatArray
    """float32 (anchors * 10,)."""


class FaceNetwork(Protocol):
    """A detector's network: its session, and what the outputs mean."""

    session: Session

    def decode(self, outputs: list[FloatArray], count: int, width: int, threshold: float) -> BatchCandidates:
        """The candidates of a batch that reach `threshold`, in pixels of the input.

        outputs: those of the session for `count` inputs that are `width` pixels wide.
        """

    def over(self, session: Session) -> FaceNetwork:
        """The same network, run by another session."""


def find(network: FaceNetwork, feed: NDArray[Any], threshold: float) -> BatchCandidates:
    """Run a network on a whole batch: its candidates that reach `threshold`, in pixels of the input.

    feed: uint8 (n, h, w, 3) pixels or float32 (n, 3, h, w) normalised values, RGB, as the session takes them. Raises
    DeviceError.
    """
    width = feed.shape[2] if network.session.input.pixels else feed.shape[3]
    return network.decode(network.session.run(feed), len(feed), width, threshold)


class PlainNetwork:
    """A detector whose outputs are the scores, boxes and landmarks of all anchors."""

    def __init__(self, session: Session, layout: Layout) -> None:
        self.session, self._layout = session, layout

    def over(self, session: Session) -> PlainNetwork:
        return PlainNetwork(session, self._layout)

    @np.errstate(over="ignore", invalid="ignore")  # whatever a broken network answers; see `join_levels`
    def decode(self, outputs: list[FloatArray], count: int, width: int, threshold: float) -> BatchCandidates:
        """Decode the anchors that reach the threshold."""
        # Some exports merge the axes of batch and anchors.
        parted = [output.reshape(count, -1, output.shape[-1]) for output in outputs]
        return scrfd.decode(parted, self._layout, width, threshold)


class LazyNetwork:
    """A detector whose outputs are logits and feature maps; boxes and landmarks are computed here."""

    def __init__(self, session: Session, layout: Layout, heads: list[HeadWeights]) -> None:
        self.session, self._layout, self._heads = session, layout, heads
        self._weights = [np.ascontiguousarray(_by_anchor(h.boxes, h.landmarks).T) for h in heads]
        self._biases = [_by_anchor(h.boxes_bias, h.landmarks_bias)[:, 0] for h in heads]

    def over(self, session: Session) -> LazyNetwork:
        return LazyNetwork(session, self._layout, self._heads)

    @np.errstate(over="ignore", invalid="ignore")  # as above
    def decode(self, outputs: list[FloatArray], count: int, width: int, threshold: float) -> BatchCandidates:
        """Evaluate the other heads at the anchors whose score reaches the threshold.

        outputs: the logits of each stride, then the feature maps of each stride.
        """
        del width  # that of the feature maps tells as much
        levels = len(self._layout.strides)
        return scrfd.join_levels(
            [
                scrfd.join_inputs([self._read(level, logits[i], features[i], threshold) for i in range(count)])
                for level, (logits, features) in enumerate(zip(outputs[:levels], outputs[levels:], strict=True))
            ]
        )

    def _read(self, level: int, logits: FloatArray, features: FloatArray, threshold: float) -> Candidates:
        """The candidates of one stride of one input. logits: float32 (anchors, h, w); features: (channels, h, w)."""
        chosen, scores, peak = _reach(logits, threshold)
        if not len(chosen):
            return scrfd.no_candidates(peak)
        boxes, landmarks = self._place(level, features, chosen)
        return Candidates(boxes, scores, landmarks, peak)

    def _place(self, level: int, features: FloatArray, chosen: NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
        """Evaluate one stride's last convolutions at the anchors `chosen`: boxes and landmarks.

        features: float32 (channels, h, w).
        """
        stride, anchors, width = self._layout.strides[level], self._layout.anchors, features.shape[2]
        values = _multiply(patches(features, chosen // anchors), self._weights[level]) + self._biases[level]
        values = values.reshape(len(chosen), anchors, 14)[np.arange(len(chosen)), chosen % anchors] * stride
        return scrfd.place(scrfd.centres(chosen, width, stride, anchors), values[:, :4], values[:, 4:])


def _by_anchor(boxes: FloatArray, landmarks: FloatArray) -> FloatArray:
    """Interleave the 4 rows of each anchor's box and the 10 rows of its landmarks: (anchors * 14, ...)."""
    anchors = len(boxes) // 4
    return np.concatenate((boxes.reshape(anchors, 4, -1), landmarks.reshape(anchors, 10, -1)), axis=1).reshape(
        anchors * 14, -1
    )


def _reach(logits: FloatArray, threshold: float) -> tuple[NDArray[np.intp], FloatArray, float]:
    """The anchors whose score reaches `threshold`, in anchor order, their scores, and the best score of all anchors."""
    least = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else (-math.inf if threshold <= 0 else math.inf)
    best = float(logits.max())
    peak = 1 / (1 + math.exp(-max(best, -99.0)))
    if best < least - 1e-3:
        return np.empty(0, np.intp), np.empty(0, np.float32), peak
    ordered = logits.transpose(1, 2, 0).reshape(-1)
    chosen = np.flatnonzero(ordered >= least - 1e-3)
    scores = (1 / (1 + np.exp(-ordered[chosen].astype(np.float64)))).astype(np.float32)
    reached = scores >= threshold
    return chosen[reached], scores[reached], peak


def patches(features: FloatArray, positions: NDArray[np.intp]) -> FloatArray:
    """The input patches of a 3x3 convolution with padding 1 at some positions: float32 (n, channels * 9).

    features: float32 (channels, h, w). positions: indices into the map in row-major order.
    """
    channels, height, width = features.shape
    rows, columns = np.divmod(positions[:, None], width)
    rows, columns = rows + ROWS_AROUND, columns + COLUMNS_AROUND
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    around = np.where(inside, rows * width + columns, 0)
    picked: FloatArray = features.reshape(channels, -1)[:, around] * inside
    return picked.transpose(1, 0, 2).reshape(len(positions), channels * 9)


def _multiply(rows: FloatArray, matrix: FloatArray) -> FloatArray:
    """Matrix product in blocks so small that BLAS starts no threads."""
    step = max(1, ONE_THREAD // matrix.size)
    if len(rows) <= step:
        product: FloatArray = rows @ matrix
        return product
    return np.concatenate([rows[start : start + step] @ matrix for start in range(0, len(rows), step)])
