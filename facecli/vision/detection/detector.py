"""Find faces with SCRFD: a main pass, a small pass for faces that fill the frame, and further passes on request."""

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
"""The sides of the input are multiples of this, in pixels."""
SURE = 0.75
"""A photo with a face of at least this score is upright: faces that lie on their side or upside down hardly ever reach
it."""
HINT = 0.25
"""A photo in which no anchor reaches this score has no rotated face either: a rotated face gets a low score, but not
that low."""
GLANCE = 0.4
"""Least score in a first, small pass over a rotated photo that makes a full pass worthwhile."""
UPRIGHT = 0.6
"""Least score of the best face in a rotated photo."""


class InputShape(Struct, frozen=True):
    """Input sizes of a detector."""

    side: tuple[int, int]
    """Width and height of the main input, in pixels."""
    fixed: bool
    """Whether the network accepts only this size, so that there is no small pass."""
    most: int
    """Largest batch; 1 on a CPU, where batches are not faster and need more memory."""


class Detector:
    """Finds the faces in photos; thread-safe."""

    def __init__(
        self, network: FaceNetwork, options: DetectionOptions, shape: InputShape, normalisation: tuple[float, float]
    ) -> None:
        """Set up the passes; the network's input is (pixel - mean) * factor with `normalisation` = (mean, factor)."""
        self._network, self._options, self._side = network, options, shape.side
        self._small = (options.small_scale, options.small_scale) if options.small_scale and not shape.fixed else None
        # Accelerators compile or tune kernels for each input shape, so there this pass uses the main size as well.
        self._glance = shape.side if shape.fixed or shape.most > 1 else (_half(shape.side[0]), _half(shape.side[1]))
        self._most = shape.most if network.batches else 1
        self._letterbox = Letterbox(*normalisation)
        self._own = threading.local()

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that runs the network."""
        return self._network.session.provider

    def detect(self, photos: Sequence[ByteArray]) -> list[Detections]:
        """Find the faces in each photo, uint8 (h, w, 3) RGB with any strides.

        Gives one Detections per photo: boxes float32 (n, 4) as x1, y1, x2, y2, scores float32 (n,), landmarks float32
        (n, 5, 2) as x, y, all in pixels of the photo, and found_by uint8 (n,). Faces of the main pass come first;
        within a pass the order is by descending score. Raises DeviceError if the network fails.
        """
        seen = zip(photos, self._look_twice(photos), strict=True)
        return [self._large_enough(self._look_further(photo, faces, peak)) for photo, (faces, peak) in seen]

    def _look_twice(self, photos: Sequence[ByteArray]) -> list[tuple[Detections, float]]:
        """The main and the small pass: the faces of each photo, and the best score of all its anchors."""
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
        """Further passes if they may find more: tiles, and rotated photos if the photo may not be upright."""
        faces = _add_tiles(photo, faces, self._look_at_tiles(photo))
        surest = max(peak, best_score(faces))
        if self._options.rotate and HINT <= surest < SURE:
            faces = self._look_at_turned(photo, faces, least=max(UPRIGHT, surest + CLEARLY))
        return faces

    def _look_at_turned(self, photo: ByteArray, faces: Detections, *, least: float) -> Detections:
        """Add the faces of a photo that lies on its side or upside down, if the best of them has a score of `least`.

        In a photo the wrong way up the detector often still finds a face, with a low score and useless landmarks.
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
        """The rotations in which a small pass finds something; all of them if the faces may be too small for it."""
        if self._tiles_of(photo):
            return list(QUARTERS)
        blob = self._blob(1, self._glance)
        self._letterbox.fill(photo, blob[0])
        inputs = {quarters: np.ascontiguousarray(turn(blob[0], quarters, (1, 2))) for quarters in QUARTERS}
        return [quarters for quarters in QUARTERS if self._network.find(inputs[quarters][None], 1.0)[0].peak >= GLANCE]

    def _look_at_tiles(self, photo: ByteArray) -> Detections:
        """The faces that the passes over tiles find."""
        looks = [self._look_at_parts(photo, tiles) for tiles in self._tiles_of(photo)]
        found = _best(scrfd.join(looks), 1.0)
        # In small squares the detector may find a part of a large face; within one pass that was never seen.
        return as_detections(without_parts(found) if len(looks) > 1 else found, FoundBy.TILE)

    def _look_at_parts(self, photo: ByteArray, tiles: list[Tile]) -> Candidates:
        """All candidates in tiles of one size, in pixels of the photo."""
        height, width = photo.shape[:2]
        seen = self._look([tile.cut(photo) for tile in tiles], self._side)
        return scrfd.join([place_tile(c, tile, height, width) for c, tile in zip(seen, tiles, strict=True)])

    def _tiles_of(self, photo: ByteArray) -> list[list[Tile]]:
        return tiles_of(photo.shape[0], photo.shape[1], min(self._side), small_faces=self._options.tiles)

    def _look(self, photos: Sequence[ByteArray], side: tuple[int, int]) -> list[Candidates]:
        """One pass over all photos at one input size."""
        results: list[Candidates] = []
        for start in range(0, len(photos), self._most):
            part = photos[start : start + self._most]
            blob = self._blob(len(part), side)
            fits = [self._letterbox.fill(photo, blob[number]) for number, photo in enumerate(part)]
            found = self._network.find(blob, self._options.min_score)
            results += [_best(c, f.scale) for c, f in zip(found, fits, strict=True)]
        return results

    def _blob(self, count: int, side: tuple[int, int]) -> FloatArray:
        """This thread's buffer for `count` inputs: float32 (count, 3, height, width)."""
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
    """Add the faces found in tiles to those of the photo."""
    return add_better_read(faces, tiles, apart=APART_IN_STRIPS if is_strip(*photo.shape[:2]) else APART)


def _best(found: Candidates, scale: float) -> Candidates:
    """Apply non-maximum suppression: one candidate per face, in pixels of the photo, by descending score."""
    if not len(found.scores):
        return found
    ordered = scrfd.to_photo(found, scale)
    return ordered.select(scrfd.suppress(ordered.boxes))


def _half(side: int) -> int:
    return max(STRIDE, side // 2 // STRIDE * STRIDE)
