"""Photos to faces: SCRFD at the main size, and a second, small look that adds faces which fill the frame."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np

from facecli.config import DetectionOptions
from facecli.types import ByteArray, Detections, FloatArray, FoundBy
from facecli.vision import scrfd
from facecli.vision.letterbox import Letterbox
from facecli.vision.networks import FaceNetwork
from facecli.vision.scrfd import Candidates

SAME_FACE = 0.4
"""A face of the second pass is new where it overlaps every face of the main pass by no more."""


class Detector:
    """Finds the faces of photos; thread-safe."""

    def __init__(
        self, network: FaceNetwork, options: DetectionOptions, *, side: tuple[int, int], fixed: bool, normalisation: tuple[float, float]
    ) -> None:
        """Set up the passes: `side` is the main input as (width, height); `fixed` if the network takes no other, so that there is one pass."""
        self._network, self._options, self._side = network, options, side
        self._small = (options.small_scale, options.small_scale) if options.small_scale and not fixed else None
        self._letterbox = Letterbox(*normalisation)
        self._own = threading.local()

    def detect(self, photos: Sequence[ByteArray]) -> list[Detections]:
        """Find the faces of each photo, uint8 (h, w, 3) RGB; main pass first, each pass by falling score."""
        found = [_detections(c, FoundBy.MAIN) for c in self._look(photos, self._side)]
        if self._small:
            found = [_add(main, _detections(c, FoundBy.SMALL_SCALE)) for main, c in zip(found, self._look(photos, self._small), strict=True)]
        return [self._large_enough(f) for f in found]

    def _look(self, photos: Sequence[ByteArray], side: tuple[int, int]) -> list[Candidates]:
        """One pass over all photos at one size."""
        step = len(photos) if self._network.batches else 1
        results: list[Candidates] = []
        for start in range(0, len(photos), max(1, step)):
            part = photos[start : start + step]
            blob = self._blob(len(part), side)
            fits = [self._letterbox.fill(photo, blob[number]) for number, photo in enumerate(part)]
            found = self._network.find(blob, self._options.min_score)
            results += [_best(c, f.scale) for c, f in zip(found, fits, strict=True)]
        return results

    def _blob(self, count: int, side: tuple[int, int]) -> FloatArray:
        """This thread's input for `count` photos."""
        kept: dict[tuple[int, int], FloatArray] = self._own.__dict__.setdefault("blobs", {})
        if side not in kept or len(kept[side]) < count:
            kept[side] = np.empty((count, 3, side[1], side[0]), np.float32)
        return kept[side][:count]

    def _large_enough(self, found: Detections) -> Detections:
        if not self._options.min_face or not len(found):
            return found
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        return found.select(sides.min(axis=1) >= self._options.min_face)


def _best(found: Candidates, scale: float) -> Candidates:
    """One candidate a face, in pixels of the photo, by falling score."""
    if not len(found.scores):
        return found
    ordered = scrfd.to_photo(found, scale)
    return ordered.select(scrfd.suppress(ordered.boxes))


def _detections(found: Candidates, by: FoundBy) -> Detections:
    return Detections(found.boxes, found.scores, found.landmarks, np.full(len(found.scores), by, np.uint8))


def _add(main: Detections, more: Detections) -> Detections:
    """The faces of `main`, then those of `more` that are none of them."""
    if not len(more):
        return main
    if len(main):
        more = more.select(scrfd.overlaps(more.boxes, main.boxes).max(axis=1) <= SAME_FACE)
    join = np.concatenate
    boxes, scores = join((main.boxes, more.boxes)), join((main.scores, more.scores))
    return Detections(boxes, scores, join((main.landmarks, more.landmarks)), join((main.found_by, more.found_by)))
