"""Photos to faces: SCRFD at the main size, a second, small look that adds faces which fill the frame, and further looks on request."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from msgspec import Struct

from facecli.config import DetectionOptions
from facecli.types import ByteArray, Detections, FloatArray, FoundBy
from facecli.vision.detection import scrfd
from facecli.vision.detection.letterbox import Letterbox
from facecli.vision.detection.merge import (
    APART,
    APART_IN_STRIPS,
    CLEARLY,
    add_better_read,
    add_new,
    as_detections,
    best_score,
    without_parts,
)
from facecli.vision.detection.network import FaceNetwork
from facecli.vision.detection.passes import QUARTERS, Tile, is_strip, place_tile, tiles_of, turn, turn_back
from facecli.vision.detection.scrfd import Candidates

STRIDE = 32
"""The input's sides are multiples of this."""
SURE = 0.75
"""A photo with a face of this score is upright: none that was seen sideways or upside down reaches it, but for a
few."""
HINT = 0.25
"""A photo in which nothing at all has this score shows no face that lies on its side either: such a face scores,
only too low."""
GLANCE = 0.4
"""The score from which on a first, small look at a turned photo asks for a second."""
UPRIGHT = 0.6
"""The score that the surest face of a turned photo must have."""


class InputShape(Struct, frozen=True):
    """What a detector's network takes."""

    side: tuple[int, int]
    """Width and height of the main input."""
    fixed: bool
    """Whether it takes no other, so that there is no second size."""
    most: int
    """The most inputs of one run; a batch gains nothing on a CPU, and takes its memory."""


class Detector:
    """Finds the faces of photos; thread-safe."""

    def __init__(
        self, network: FaceNetwork, options: DetectionOptions, shape: InputShape, normalisation: tuple[float, float]
    ) -> None:
        """Set up the passes; `normalisation` is mean and factor of the network's input."""
        self._network, self._options, self._side = network, options, shape.side
        self._small = (options.small_scale, options.small_scale) if options.small_scale and not shape.fixed else None
        # An accelerator is tuned for each shape of input, so there the small look is a large one.
        self._glance = shape.side if shape.fixed or shape.most > 1 else (_half(shape.side[0]), _half(shape.side[1]))
        self._most = shape.most if network.batches else 1
        self._letterbox = Letterbox(*normalisation)
        self._own = threading.local()

    @property
    def provider(self) -> str:
        """What runs the network."""
        return self._network.session.provider

    def detect(self, photos: Sequence[ByteArray]) -> list[Detections]:
        """Find the faces of each photo, uint8 (h, w, 3) RGB; main pass first, each pass by falling score."""
        seen = zip(photos, self._look_twice(photos), strict=True)
        return [self._large_enough(self._look_further(photo, faces, peak)) for photo, (faces, peak) in seen]

    def _look_twice(self, photos: Sequence[ByteArray]) -> list[tuple[Detections, float]]:
        """The main pass, and the small one where there is one: the faces of each photo, and the best score of anything in it."""
        main = self._look(photos, self._side)
        found = [(as_detections(c, FoundBy.MAIN), c.peak) for c in main]
        if not self._small:
            return found
        small = self._look(photos, self._small)
        return [
            (add_new(faces, as_detections(c, FoundBy.SMALL_SCALE)), max(peak, c.peak))
            for (faces, peak), c in zip(found, small, strict=True)
        ]

    def _look_further(self, photo: ByteArray, faces: Detections, peak: float) -> Detections:
        """Further looks where they may show more: at tiles, and at the photo turned where nothing shows that it is upright."""
        faces = _add_tiles(photo, faces, self._look_at_tiles(photo))
        surest = max(peak, best_score(faces))
        if self._options.rotate and HINT <= surest < SURE:
            faces = self._look_at_turned(photo, faces, least=max(UPRIGHT, surest + CLEARLY))
        return faces

    def _look_at_turned(self, photo: ByteArray, faces: Detections, *, least: float) -> Detections:
        """Add the faces of a photo that lies on its side or its head, where the surest of them has a score of `least`.

        Seen the wrong way up, a face is often found all the same, weakly and with landmarks that are of no use.
        """
        height, width = photo.shape[:2]
        found = faces
        for quarters in self._likely_turns(photo):
            turned = turn(photo, quarters)
            [(seen, peak)] = self._look_twice([turned])
            seen = _add_tiles(turned, seen, self._look_at_tiles(turned))
            surest = max(peak, best_score(seen))
            if surest >= least:
                least = surest
                back = turn_back(Candidates(seen.boxes, seen.scores, seen.landmarks), quarters, height, width)
                found = add_better_read(faces, as_detections(back, FoundBy.ROTATED))
        return found

    def _likely_turns(self, photo: ByteArray) -> list[int]:
        """The turns of a photo that show something in a small look; all where its faces may be too small for that."""
        if self._tiles_of(photo):
            return list(QUARTERS)
        blob = self._blob(1, self._glance)
        self._letterbox.fill(photo, blob[0])
        inputs = {quarters: np.ascontiguousarray(turn(blob[0], quarters, (1, 2))) for quarters in QUARTERS}
        return [quarters for quarters in QUARTERS if self._network.find(inputs[quarters][None], 1.0)[0].peak >= GLANCE]

    def _look_at_tiles(self, photo: ByteArray) -> Detections:
        """The faces that show in parts of the photo."""
        looks = [self._look_at_parts(photo, tiles) for tiles in self._tiles_of(photo)]
        found = _best(scrfd.join(looks), 1.0)
        # Of a large face a look at small squares may show a part; within one look that was never seen.
        return as_detections(without_parts(found) if len(looks) > 1 else found, FoundBy.TILE)

    def _look_at_parts(self, photo: ByteArray, tiles: list[Tile]) -> Candidates:
        """All that a look at tiles of one size shows, in pixels of the photo."""
        height, width = photo.shape[:2]
        seen = self._look([tile.cut(photo) for tile in tiles], self._side)
        return scrfd.join([place_tile(c, tile, height, width) for c, tile in zip(seen, tiles, strict=True)])

    def _tiles_of(self, photo: ByteArray) -> list[list[Tile]]:
        return tiles_of(photo.shape[0], photo.shape[1], min(self._side), small_faces=self._options.tiles)

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


def _add_tiles(photo: ByteArray, faces: Detections, tiles: Detections) -> Detections:
    """The faces of a photo and what its tiles add."""
    return add_better_read(faces, tiles, apart=APART_IN_STRIPS if is_strip(*photo.shape[:2]) else APART)


def _best(found: Candidates, scale: float) -> Candidates:
    """One candidate a face, in pixels of the photo, by falling score."""
    if not len(found.scores):
        return found
    ordered = scrfd.to_photo(found, scale)
    return ordered.select(scrfd.suppress(ordered.boxes))


def _half(side: int) -> int:
    return max(STRIDE, side // 2 // STRIDE * STRIDE)
