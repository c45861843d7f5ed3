"""Merge the faces of several passes over a photo: those of the first pass stay, later passes add to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facecli.boxes import covered, overlaps
from facecli.types import Detections, FloatArray, FoundBy
from facecli.vision.detection.scrfd import Candidates

SAME_FACE = 0.4
"""Two boxes with a larger intersection over union are the same face."""
PART_OF_A_FACE = 0.5
"""A box of which a larger share of its area lies in another box is a part of that face."""
CLEARLY = 0.05
"""A score is clearly higher if it is higher by this much."""
APART = 0.15
"""Two readings of a face differ if their landmarks lie this far apart on average, in sides of the box: their embeddings
then have a cosine below 0.5."""
APART_IN_STRIPS = 0.12
"""The same in a strip: the whole strip is scaled down so far that its landmarks are blurred, and at 0.15 the cosine
fell to 0.37."""


def as_detections(found: Candidates, by: FoundBy) -> Detections:
    """Convert the candidates of one pass."""
    return Detections(found.boxes, found.scores, found.landmarks, np.full(len(found.scores), by, np.uint8))


def best_score(found: Detections) -> float:
    """The best score; 0 without faces."""
    return float(found.scores.max()) if len(found) else 0.0


def add_new(known: Detections, more: Detections) -> Detections:
    """The faces of `known`, then those of `more` that are not the same face as one of `known`."""
    if len(known) and len(more):
        more = more.select(overlaps(more.boxes, known.boxes).max(axis=1) <= SAME_FACE)
    return _join(known, more)


def add_better_read(known: Detections, more: Detections, *, apart: float = APART) -> Detections:
    """The faces of `known`, then those of `more` that are neither the same as one of `known` nor a part of it.

    A known face does not suppress a face whose score is clearly higher and whose landmarks lie elsewhere, by `apart`:
    it is a misreading, of a face that lies on its side or is almost too small, and its embedding is useless. It is
    still kept, because InsightFace finds it as well.
    """
    if len(known) and len(more):
        common = (overlaps(more.boxes, known.boxes) > SAME_FACE) | (covered(more.boxes, known.boxes) > PART_OF_A_FACE)
        held: NDArray[np.bool_] = np.any(common & ~_reads_better(more, known, apart), axis=1)
        more = more.select(~held)
    return _join(known, more)


def without_parts(found: Candidates) -> Candidates:
    """The candidates that are not a part of one with a better score; `found` is in descending order of score."""
    if not len(found.scores):
        return found
    inside = covered(found.boxes, found.boxes) > PART_OF_A_FACE
    return found.select(~np.any(np.tril(inside, -1), axis=1))


def _reads_better(more: Detections, known: Detections, apart: float) -> NDArray[np.bool_]:
    """Whether each of `more` has a clearly higher score than each of `known` and other landmarks: bool (m, n)."""
    sides: FloatArray = np.sqrt(np.prod(more.boxes[:, 2:] - more.boxes[:, :2], axis=1))
    distances = np.linalg.norm(more.landmarks[:, None] - known.landmarks[None], axis=3).mean(axis=2)
    better: NDArray[np.bool_] = (more.scores[:, None] >= known.scores[None] + CLEARLY) & (
        distances >= apart * sides[:, None]
    )
    return better


def _join(known: Detections, more: Detections) -> Detections:
    if not len(more):
        return known
    join = np.concatenate
    boxes, scores = join((known.boxes, more.boxes)), join((known.scores, more.scores))
    return Detections(boxes, scores, join((known.landmarks, more.landmarks)), join((known.found_by, more.found_by)))
