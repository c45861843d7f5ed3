"""Decoding and suppression against slow reference implementations."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.vision.detection import scrfd
from facecli.vision.detection.network import PlainNetwork
from facecli.vision.detection.scrfd import LAYOUTS, BatchCandidates, Candidates, Layout

if TYPE_CHECKING:
    from facecli.vision.runtime.session import Session


def naive_suppress(boxes: NDArray[np.float32]) -> list[int]:
    """Keep a box unless a kept one overlaps it by more than 0.4; areas include both edge pixels."""
    kept: list[int] = []
    for i, a in enumerate(boxes.astype(np.float64)):
        for j in kept:
            b = boxes[j].astype(np.float64)
            width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
            height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
            area = [(c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b)]
            if width * height / (sum(area) - width * height) > 0.4:
                break
        else:
            kept.append(i)
    return kept


def test_suppression_keeps_what_the_definition_keeps() -> None:
    rng = np.random.default_rng(1)
    for count in (0, 1, 2, 7, 60, 300):
        corners = rng.uniform(0, 200, (count, 2))
        boxes = np.hstack((corners, corners + rng.uniform(5, 80, (count, 2)))).astype(np.float32)
        owner = np.zeros(count, np.intp)
        assert scrfd.suppress(boxes, owner).tolist() == naive_suppress(boxes)


def test_equal_scores_keep_the_order_of_the_anchors() -> None:
    boxes = np.array([[0, 0, 10, 10], [50, 50, 60, 60], [100, 0, 110, 10]], np.float32)
    scores, landmarks = np.array([0.7, 0.9, 0.7], np.float32), np.zeros((3, 5, 2), np.float32)
    found = BatchCandidates(boxes, scores, landmarks, np.zeros(3, np.intp), np.ones(1))
    [ordered] = scrfd.best_of(found, np.full(1, 2, np.float32))
    assert ordered.boxes.tolist() == [[25, 25, 30, 30], [0, 0, 5, 5], [50, 0, 55, 5]]


def test_a_batch_gives_for_each_photo_what_it_gives_alone() -> None:
    rng = np.random.default_rng(3)
    parts = []
    for count in (0, 40, 1, 0, 300, 7):
        corners = rng.uniform(0, 200, (count, 2))
        boxes = np.hstack((corners, corners + rng.uniform(5, 80, (count, 2)))).astype(np.float32)
        # Few different scores, so that many are equal.
        scores = rng.integers(5, 9, count).astype(np.float32) / 10
        parts.append(Candidates(boxes, scores, rng.uniform(0, 200, (count, 5, 2)).astype(np.float32), rng.random()))
    scales = rng.uniform(0.2, 3, len(parts)).astype(np.float32)
    together = scrfd.best_of(scrfd.join_inputs(parts), scales)
    for part, scale, found in zip(parts, scales, together, strict=True):
        [alone] = scrfd.best_of(scrfd.join_inputs([part]), scale[None])
        order = np.argsort(-part.scores, kind="stable")
        kept = naive_suppress(part.boxes[order] / scale)
        np.testing.assert_array_equal(found.boxes, (part.boxes[order] / scale)[kept])
        for name in ("boxes", "scores", "landmarks"):
            np.testing.assert_array_equal(getattr(found, name), getattr(alone, name))
        assert found.peak == alone.peak == part.peak


def test_decoding_gives_what_a_loop_over_all_anchors_gives() -> None:
    rng = np.random.default_rng(2)
    for layout in (LAYOUTS[9], LAYOUTS[15]):
        width, height, threshold = 256, 128, 0.9
        counts = [(width // s) * (height // s) * layout.anchors for s in layout.strides]
        batch = [rng.random((3, n, c)).astype(np.float32) for c in (1, 4, 10) for n in counts]
        batch[0][1, 5] = np.float32(threshold)
        found = scrfd.decode(batch, layout, width, threshold)
        assert found.boxes.dtype == found.landmarks.dtype == np.float32
        for number in range(3):
            outputs = [output[number] for output in batch]
            boxes, scores, landmarks = slowly_decoded(outputs, layout, width, threshold)
            own = found.select(found.owner == number)
            np.testing.assert_array_equal(own.scores, scores)
            np.testing.assert_allclose(own.boxes, boxes, rtol=1e-5)
            np.testing.assert_allclose(own.landmarks, landmarks, rtol=1e-5)
            assert found.peaks[number] == max(output.max() for output in outputs[: len(layout.strides)])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("part", [1, 2])
def test_faces_that_are_nowhere_are_left_out(value: float, part: int) -> None:
    """The numbers of a broken network; numpy's warnings are errors here."""
    layout, width, height = LAYOUTS[9], 64, 64
    counts = [(width // s) * (height // s) * layout.anchors for s in layout.strides]
    outputs = [np.full((1, n, c), 0.5, np.float32) for c in (1, 4, 10) for n in counts]
    outputs[3 * part][0, 7] = value
    network = PlainNetwork(cast("Session", None), layout)
    found = network.decode(outputs, 1, width, 0.4)
    assert len(found.scores) == sum(counts) - 1
    scrfd.best_of(found, np.ones(1, np.float32))
    for output in outputs[:3]:
        output[...] = np.nan
    assert len(network.decode(outputs, 1, width, 0.4).scores) == 0


def slowly_decoded(
    outputs: list[NDArray[np.float32]], layout: Layout, width: int, threshold: float
) -> tuple[list[list[float]], list[float], list[NDArray[np.float32]]]:
    boxes, scores, landmarks = [], [], []
    levels = len(layout.strides)
    for level, stride in enumerate(layout.strides):
        for number in range(len(outputs[level])):
            if outputs[level][number, 0] >= threshold:
                position = number // layout.anchors
                centre = np.array([position % (width // stride), position // (width // stride)]) * stride
                left, top, right, bottom = outputs[level + levels][number] * stride
                boxes.append([centre[0] - left, centre[1] - top, centre[0] + right, centre[1] + bottom])
                landmarks.append(outputs[level + 2 * levels][number].reshape(5, 2) * stride + centre)
                scores.append(outputs[level][number, 0])
    return boxes, scores, landmarks
