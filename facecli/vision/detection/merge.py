"""The faces of several looks at one photo, put together: the first look stands, later ones add to it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facecli.boxes import covered, overlaps
from facecli.types import Detections, FloatArray, FoundBy
from facecli.vision.detection.scrfd import Candidates

SAME_FACE = 0.4
"""Two boxes that overlap by more (intersection over union) are the same face."""
PART_OF_A_FACE = 0.5
"""A box that lies in another by more of its own area is a part of that face."""
CLEARLY = 0.05
"""By so much a score must be higher to be clearly so."""
APART = 0.15
"""So far from each other, on average and in sides of the box, two readings of a face are not the same: their
embeddings have a cosine under 0.5."""
APART_IN_STRIPS = 0.12
"""The same in a strip: its whole is scaled down so far that landmarks are blurred, and at 0.15 the cosine was down
to 0.37."""


def as_detections(found: Candidates, by: FoundBy) -> Detections:
    """What one look found."""
    return Detections(found.boxes, found.scores, found.landmarks, np.full(len(found.scores), by, np.uint8))


def best_score(found: Detections) -> float:
    """The score of the surest face, 0 where there is none."""
    return float(found.scores.max()) if len(found) else 0.0


def add_new(known: Detections, more: Detections) -> Detections:
    """The faces of `known`, then those of `more` that are none of them."""
    if len(known) and len(more):
        more = more.select(overlaps(more.boxes, known.boxes).max(axis=1) <= SAME_FACE)
    return _join(known, more)


def add_better_read(known: Detections, more: Detections, *, apart: float = APART) -> Detections:
    """The faces of `known`, then those of `more` that are none of them, nor parts of them.

    A known face that is clearly less sure and whose landmarks lie elsewhere, by `apart`, holds none back: it is a
    misreading, of a face that lies on its side or is almost too small, and its embedding is like nobody's. It stays all
    the same: it is what InsightFace finds.
    """
    if len(known) and len(more):
        common = (overlaps(more.boxes, known.boxes) > SAME_FACE) | (covered(more.boxes, known.boxes) > PART_OF_A_FACE)
        held: NDArray[np.bool_] = np.any(common & ~_reads_better(more, known, apart), axis=1)
        more = more.select(~held)
    return _join(known, more)


def without_parts(found: Candidates) -> Candidates:
    """Those of `found`, by falling score, that are no part of a surer one."""
    if not len(found.scores):
        return found
    inside = covered(found.boxes, found.boxes) > PART_OF_A_FACE
    return found.select(~np.any(np.tril(inside, -1), axis=1))


def _reads_better(more: Detections, known: Detections, apart: float) -> NDArray[np.bool_]:
    """Whether each of `more` is surer than each of `known` and reads another face from the place: bool (m, n)."""
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
