"""A detector's network, and the two ways to get candidates from it: all heads evaluated, or only where the scores ask for it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facecli.types import FloatArray
from facecli.vision import scrfd
from facecli.vision.scrfd import Candidates, Layout
from facecli.vision.session import Session, rows_of

ONE_THREAD = 200_000
"""Multiplications below which numpy's BLAS stays in the caller's thread; the workers must not wake its own."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadWeights:
    """The last convolutions of one stride: 3x3 over the feature map, padded by one."""

    boxes: FloatArray
    """float32 (anchors * 4, channels, 3, 3)."""
    boxes_bias: FloatArray
    """float32 (anchors * 4,)."""
    landmarks: FloatArray
    """float32 (anchors * 10, channels, 3, 3)."""
    landmarks_bias: FloatArray
    """float32 (anchors * 10,)."""


class FaceNetwork(Protocol):
    """A detector's network: what it finds in a batch of inputs."""

    batches: bool
    """Whether one run takes several inputs."""

    def find(self, blob: FloatArray, threshold: float) -> list[Candidates]:
        """For each input of `blob`, float32 (b, 3, h, w), the candidates that reach `threshold`, in pixels of the input."""


class PlainNetwork:
    """A detector that gives scores, boxes and landmarks of all anchors."""

    def __init__(self, session: Session, layout: Layout) -> None:
        self._session, self._layout = session, layout
        self.batches = session.input.shape[0] is None

    def find(self, blob: FloatArray, threshold: float) -> list[Candidates]:
        """Evaluate all heads, then look only at the anchors that reach the threshold."""
        outputs = self._session.run(blob)
        return [scrfd.decode(rows, self._layout, blob.shape[3], threshold) for rows in rows_of(outputs, len(blob))]


class LazyNetwork:
    """A detector that gives the scores before their sigmoid and the feature maps; boxes and landmarks are worked out here."""

    def __init__(self, session: Session, layout: Layout, heads: list[HeadWeights]) -> None:
        self._session, self._layout = session, layout
        self.batches = session.input.shape[0] is None
        self._weights = [_matrix(h) for h in heads]
        self._biases = [np.concatenate((h.boxes_bias, h.landmarks_bias)) for h in heads]

    def find(self, blob: FloatArray, threshold: float) -> list[Candidates]:
        """Evaluate the scores everywhere, and the other heads at the anchors that reach the threshold."""
        outputs = self._session.run(blob)
        return [self._decode([o[number] for o in outputs], threshold) for number in range(len(blob))]

    def _decode(self, outputs: list[FloatArray], threshold: float) -> Candidates:
        count = len(self._layout.strides)
        levels = zip(range(count), outputs[:count], outputs[count:], strict=True)
        return scrfd.join([self._level(level, logits, features, threshold) for level, logits, features in levels])

    def _level(self, level: int, logits: FloatArray, features: FloatArray, threshold: float) -> Candidates:
        """One stride: `logits` (anchors, h, w), `features` (channels, h, w)."""
        stride, anchors, width = self._layout.strides[level], self._layout.anchors, logits.shape[2]
        chosen, scores = _reach(logits, threshold)
        if not len(chosen):
            return scrfd.no_candidates()
        rows, columns = np.divmod(chosen // anchors, width)
        values = _multiply(patches(features, rows, columns), self._weights[level]) + self._biases[level]
        which, numbers = chosen % anchors, np.arange(len(chosen))
        distances = values[:, : 4 * anchors].reshape(-1, anchors, 4)[numbers, which]
        offsets = values[:, 4 * anchors :].reshape(-1, anchors, 10)[numbers, which]
        return scrfd.place(scrfd.centres(chosen, width, stride, anchors), distances * stride, offsets * stride, scores)


def _matrix(head: HeadWeights) -> FloatArray:
    """Both convolutions as one matrix, (channels * 9, anchors * 14)."""
    stacked = np.concatenate((head.boxes, head.landmarks))
    return np.ascontiguousarray(stacked.reshape(len(stacked), -1).T)


def _reach(logits: FloatArray, threshold: float) -> tuple[NDArray[np.intp], FloatArray]:
    """The anchors, in their order, whose score reaches `threshold`, and their scores."""
    least = math.log(threshold / (1 - threshold)) if 0 < threshold < 1 else (-math.inf if threshold <= 0 else math.inf)
    if logits.max() < least - 1e-3:
        return np.empty(0, np.intp), np.empty(0, np.float32)
    ordered = logits.transpose(1, 2, 0).reshape(-1)
    chosen = np.flatnonzero(ordered >= least - 1e-3)
    scores = (1 / (1 + np.exp(-ordered[chosen].astype(np.float64)))).astype(np.float32)
    reached = scores >= threshold
    return chosen[reached], scores[reached]


def patches(features: FloatArray, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> FloatArray:
    """What a 3x3 convolution padded by one reads at some positions: float32 (n, channels * 9) from `features` (channels, h, w)."""
    channels, height, width = features.shape
    reach = np.arange(-1, 2)
    down, right = rows[:, None] + reach, columns[:, None] + reach
    inside = ((down >= 0) & (down < height))[:, :, None] & ((right >= 0) & (right < width))[:, None, :]
    picked: FloatArray = features[:, down.clip(0, height - 1)[:, :, None], right.clip(0, width - 1)[:, None, :]] * inside
    return picked.transpose(1, 0, 2, 3).reshape(len(rows), channels * 9)


def _multiply(rows: FloatArray, matrix: FloatArray) -> FloatArray:
    """The product, in portions small enough that BLAS starts no threads."""
    step = max(1, ONE_THREAD // matrix.size)
    if len(rows) <= step:
        product: FloatArray = rows @ matrix
        return product
    return np.concatenate([rows[start : start + step] @ matrix for start in range(0, len(rows), step)])
