"""Photos to faces: SCRFD at the main size, a second, small look that adds faces which fill the frame, and further looks on request."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facecli.config import DetectionOptions
from facecli.types import ByteArray, Detections, FloatArray, FoundBy
from facecli.vision import scrfd
from facecli.vision.letterbox import Letterbox
from facecli.vision.looks import QUARTERS, place_tile, tiles_of, turn, turn_back
from facecli.vision.networks import FaceNetwork
from facecli.vision.scrfd import Candidates

SAME_FACE = 0.4
"""A face of a later pass is new where it overlaps every face of the earlier ones by no more."""
PART_OF_A_FACE = 0.5
"""What lies in a face by more of its own area, in a tile, is a part of that face."""
SURE = 0.75
"""A photo with a face of this score is upright: four of five faces reach it, and none that was seen sideways or upside down."""
CLEARLY = 0.05
"""By so much the surest face of a turned photo must be surer."""
TILE_SIDES = 2
"""A tile's side, in sides of the detector's input: it is seen at half its size, where faces from some 20 pixels on are found."""


@dataclass(frozen=True, slots=True)
class InputShape:
    """What a detector's network takes."""

    side: tuple[int, int]
    """Width and height of the main input."""
    fixed: bool
    """Whether it takes no other, so that there is no second size."""
    most: int
    """The most inputs of one run; a batch gains nothing on a CPU, and takes its memory."""


class Detector:
    """Finds the faces of photos; thread-safe."""

    def __init__(self, network: FaceNetwork, options: DetectionOptions, shape: InputShape, normalisation: tuple[float, float]) -> None:
        """Set up the passes; `normalisation` is mean and factor of the network's input."""
        self._network, self._options, self._side = network, options, shape.side
        self._small = (options.small_scale, options.small_scale) if options.small_scale and not shape.fixed else None
        self._most = shape.most if network.batches else 1
        self._letterbox = Letterbox(*normalisation)
        self._own = threading.local()

    def detect(self, photos: Sequence[ByteArray]) -> list[Detections]:
        """Find the faces of each photo, uint8 (h, w, 3) RGB; main pass first, each pass by falling score."""
        found = self._look_twice(photos)
        if self._options.tiles:
            found = [_add(faces, self._look_at_tiles(photo, faces)) for photo, faces in zip(photos, found, strict=True)]
        if self._options.rotate:
            found = [faces if _best_score(faces) >= SURE else self._look_at_turned(photo, faces) for photo, faces in zip(photos, found, strict=True)]
        return [self._large_enough(faces) for faces in found]

    def _look_twice(self, photos: Sequence[ByteArray]) -> list[Detections]:
        """The main pass, and the small one where there is one."""
        found = [_detections(c, FoundBy.MAIN) for c in self._look(photos, self._side)]
        if self._small:
            more = self._look(photos, self._small)
            found = [_add(main, _detections(c, FoundBy.SMALL_SCALE)) for main, c in zip(found, more, strict=True)]
        return found

    def _look_at_turned(self, photo: ByteArray, upright: Detections) -> Detections:
        """The faces of a photo that may lie on its side or its head: of the four ways to look at it the one with the surest face.

        Seen the wrong way up, a face is often found all the same, weakly and with landmarks that are of no use.
        """
        height, width = photo.shape[:2]
        best, score = upright, _best_score(upright) + CLEARLY
        for quarters in QUARTERS:
            seen = self._look_twice([turn(photo, quarters)])[0]
            if _best_score(seen) > score:
                back = turn_back(Candidates(seen.boxes, seen.scores, seen.landmarks), quarters, height, width)
                best, score = _detections(back, FoundBy.ROTATED), _best_score(seen)
        return best

    def _look_at_tiles(self, photo: ByteArray, known: Detections) -> Detections:
        """The faces that only show in parts of the photo."""
        height, width = photo.shape[:2]
        tiles = tiles_of(height, width, TILE_SIDES * min(self._side))
        seen = self._look([tile.cut(photo) for tile in tiles], self._side)
        placed = scrfd.join([place_tile(c, tile, height, width) for c, tile in zip(seen, tiles, strict=True)])
        best = _best(placed, 1.0)
        if len(known) and len(best.scores):
            best = best.select(scrfd.covered(best.boxes, known.boxes).max(axis=1) <= PART_OF_A_FACE)
        return _detections(best, FoundBy.TILE)

    def _look(self, photos: Sequence[ByteArray], side: tuple[int, int]) -> list[Candidates]:
        """One pass over all photos at one size."""
        results: list[Candidates] = []
        for start in range(0, len(photos), self._most):
            part = photos[start : start + self._most]
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


def _best_score(found: Detections) -> float:
    return float(found.scores.max()) if len(found) else 0.0


def _add(main: Detections, more: Detections) -> Detections:
    """The faces of `main`, then those of `more` that are none of them."""
    if not len(more):
        return main
    if len(main):
        more = more.select(scrfd.overlaps(more.boxes, main.boxes).max(axis=1) <= SAME_FACE)
    join = np.concatenate
    boxes, scores = join((main.boxes, more.boxes)), join((main.scores, more.scores))
    return Detections(boxes, scores, join((main.landmarks, more.landmarks)), join((main.found_by, more.found_by)))
