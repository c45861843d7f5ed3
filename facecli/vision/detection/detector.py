"""Find faces with SCRFD: a main pass, a small pass for faces that fill the frame, and further passes on request."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from facecli.config import DetectionOptions
from facecli.types import ByteArray, Detections, FoundBy
from facecli.vision.detection import scrfd
from facecli.vision.detection.inputs import Inputs
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
from facecli.vision.runtime.batches import Batches

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


class Seen(Struct, frozen=True, eq=False):
    """The faces of a photo so far, and the best score of all its anchors."""

    faces: Detections
    peak: float


class InputShape(Struct, frozen=True):
    """Input sizes of a detector."""

    side: tuple[int, int]
    """Width and height of the main input, in pixels."""
    fixed: bool
    """Whether the network accepts only this size, so that there is no small pass."""


class Detector:
    """Finds the faces in photos; thread-safe."""

    def __init__(
        self,
        network: FaceNetwork,
        options: DetectionOptions,
        shape: InputShape,
        normalisation: tuple[float, float],
        batches: Batches,
    ) -> None:
        """Set up the passes; the network's input is (pixel - mean) * factor with `normalisation` = (mean, factor).

        batches: runs the network's session.
        """
        self._network, self._options, self._side, self.batches = network, options, shape.side, batches
        self._small = (options.small_scale, options.small_scale) if options.small_scale and not shape.fixed else None
        self._glance = shape.side if shape.fixed else (_half(shape.side[0]), _half(shape.side[1]))
        self._letterbox = Letterbox(*normalisation)
        self._own = threading.local()

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider that runs the network."""
        return self.batches.session.provider

    def make_inputs(self, photos: int) -> Inputs:
        """Inputs for `detect_filled`, for batches of at most `Inputs.rows` photos: those of one batch, or `photos`."""
        sides = [self._side, *([self._small] if self._small else [])]
        return Inputs(self.batches, self._letterbox, sides, self.batches.room_for(min(photos, self.batches.most)))

    def detect(self, photos: Sequence[ByteArray]) -> list[Detections]:
        """Find the faces in each photo, uint8 (h, w, 3) RGB with any strides.

        Gives one Detections per photo: boxes float32 (n, 4) as x1, y1, x2, y2, scores float32 (n,), landmarks float32
        (n, 5, 2) as x, y, all in pixels of the photo, and found_by uint8 (n,). Faces of the main pass come first;
        within a pass the order is by descending score. Raises DeviceError if the network fails.
        """
        if not photos:
            return []
        inputs: Inputs | None = getattr(self._own, "inputs", None)
        if inputs is None or inputs.rows < min(len(photos), self.batches.most):
            inputs = self._own.inputs = self.make_inputs(len(photos))
        found: list[Detections] = []
        for start in range(0, len(photos), inputs.rows):
            part = photos[start : start + inputs.rows]
            for number, photo in enumerate(part):
                inputs.fill_all(number, photo)
            found += self.detect_filled(part, inputs)
        return found

    def detect_filled(self, photos: Sequence[ByteArray], inputs: Inputs) -> list[Detections]:
        """Like `detect`, for the photos that `inputs` was filled with, in the order of its rows; overwrites it."""
        seen = self._read_filled(len(photos), inputs)
        return [self._large_enough(faces) for faces in self._look_further(photos, seen, inputs)]

    def _read_filled(self, count: int, inputs: Inputs) -> list[Seen]:
        """The main and the small pass over `count` filled inputs."""
        main = [Seen(as_detections(c, FoundBy.MAIN), c.peak) for c in self._run(count, inputs, self._side)]
        if not self._small:
            return main
        small = self._run(count, inputs, self._small)
        return [
            Seen(add_new(seen.faces, as_detections(c, FoundBy.SMALL_SCALE)), max(seen.peak, c.peak))
            for seen, c in zip(main, small, strict=True)
        ]

    def _run(self, count: int, inputs: Inputs, side: tuple[int, int]) -> list[Candidates]:
        """One pass over `count` filled inputs of a size: one candidate per face, in pixels of each photo."""
        found: list[Candidates] = []
        for rows, outputs in self.batches.run(inputs.array(side), count):
            decoded = self._network.decode(outputs, rows, side[0], self._options.min_score)
            found += scrfd.best_of(decoded, inputs.scales(side)[len(found) : len(found) + rows])
        return found

    def _look_further(self, photos: Sequence[ByteArray], seen: list[Seen], inputs: Inputs) -> list[Detections]:
        """Further passes where they may find more: tiles, and rotated photos if a photo may not be upright."""
        found = self._add_tiles(photos, [each.faces for each in seen], inputs)
        surest = [max(each.peak, best_score(faces)) for each, faces in zip(seen, found, strict=True)]
        doubtful = [n for n, score in enumerate(surest) if self._options.rotate and HINT <= score < SURE]
        if doubtful:
            turns = self._likely_turns({n: photos[n] for n in doubtful}, inputs)
            looks = self._look_at_turned([(turn(photos[n], quarters), n, quarters) for n, quarters in turns], inputs)
            for n in doubtful:
                size = photos[n].shape[:2]
                found[n] = _add_turned(found[n], looks[n], size, max(UPRIGHT, surest[n] + CLEARLY))
        return found

    def _likely_turns(self, photos: Mapping[int, ByteArray], inputs: Inputs) -> list[tuple[int, int]]:
        """The rotations in which a small pass finds something; all of them if the faces may be too small for it."""
        every = [(n, quarters) for n in photos for quarters in QUARTERS]
        peaks: list[float] = []
        glances = [(n, quarters) for n, quarters in every if not self._tiles_of(photos[n])]
        array, axes, upright, last = inputs.array(self._glance), inputs.spatial_axes, None, -1
        for start in range(0, len(glances), inputs.rows):
            part = glances[start : start + inputs.rows]
            for row, (n, quarters) in enumerate(part):
                if n != last:
                    upright, last = inputs.upright(photos[n], self._glance), n
                assert upright is not None
                array[row] = turn(upright, quarters, axes)
            for rows, outputs in self.batches.run(array, len(part)):
                peaks += self._network.decode(outputs, rows, self._glance[0], 1.0).peaks.tolist()
        dull = {job for job, peak in zip(glances, peaks, strict=True) if peak < GLANCE}
        return [job for job in every if job not in dull]

    def _look_at_turned(
        self, turned: list[tuple[ByteArray, int, int]], inputs: Inputs
    ) -> dict[int, list[tuple[int, Seen]]]:
        """All passes over rotated photos: by the number of the photo the rotations, and what is seen in each."""
        photos = [photo for photo, _, _ in turned]
        seen: list[Seen] = []
        for start in range(0, len(photos), inputs.rows):
            part = photos[start : start + inputs.rows]
            for number, photo in enumerate(part):
                inputs.fill_all(number, photo)
            seen += self._read_filled(len(part), inputs)
        found = self._add_tiles(photos, [each.faces for each in seen], inputs)
        looks: dict[int, list[tuple[int, Seen]]] = defaultdict(list)
        for (_, number, quarters), each, faces in zip(turned, seen, found, strict=True):
            looks[number].append((quarters, Seen(faces, each.peak)))
        return looks

    def _add_tiles(self, photos: Sequence[ByteArray], found: list[Detections], inputs: Inputs) -> list[Detections]:
        """Add the faces that passes over tiles find to those of each photo."""
        return [self._add_tiles_of(photo, faces, inputs) for photo, faces in zip(photos, found, strict=True)]

    def _add_tiles_of(self, photo: ByteArray, faces: Detections, inputs: Inputs) -> Detections:
        looks = [self._look_at_parts(photo, tiles, inputs) for tiles in self._tiles_of(photo)]
        if not looks:
            return faces
        found = _best(scrfd.join(looks))
        # In small squares the detector may find a part of a large face; within one pass that was never seen.
        tiles = as_detections(without_parts(found) if len(looks) > 1 else found, FoundBy.TILE)
        return add_better_read(faces, tiles, apart=APART_IN_STRIPS if is_strip(*photo.shape[:2]) else APART)

    def _look_at_parts(self, photo: ByteArray, tiles: list[Tile], inputs: Inputs) -> Candidates:
        """All candidates in tiles of one size, in pixels of the photo."""
        height, width = photo.shape[:2]
        seen: list[Candidates] = []
        for start in range(0, len(tiles), inputs.rows):
            part = tiles[start : start + inputs.rows]
            for number, tile in enumerate(part):
                inputs.fill(number, tile.cut(photo), self._side)
            seen += self._run(len(part), inputs, self._side)
        return scrfd.join([place_tile(c, tile, height, width) for c, tile in zip(seen, tiles, strict=True)])

    def _tiles_of(self, photo: ByteArray) -> list[list[Tile]]:
        return tiles_of(photo.shape[0], photo.shape[1], min(self._side), small_faces=self._options.tiles)

    def _large_enough(self, found: Detections) -> Detections:
        if not self._options.min_face or not len(found):
            return found
        sides = found.boxes[:, 2:] - found.boxes[:, :2]
        return found.select(sides.min(axis=1) >= self._options.min_face)


def _add_turned(faces: Detections, looks: list[tuple[int, Seen]], size: tuple[int, int], least: float) -> Detections:
    """Add the faces of a photo that lies on its side or upside down, if the best of them has a score of `least`.

    In a photo the wrong way up the detector often still finds a face, with a low score and useless landmarks.
    """
    found = faces
    for quarters, seen in looks:
        surest = max(seen.peak, best_score(seen.faces))
        if surest >= least:
            least = surest
            turned = Candidates(seen.faces.boxes, seen.faces.scores, seen.faces.landmarks)
            found = add_better_read(faces, as_detections(turn_back(turned, quarters, *size), FoundBy.ROTATED))
    return found


def _best(found: Candidates) -> Candidates:
    """Apply non-maximum suppression to the candidates of one photo, by descending score."""
    [best] = scrfd.best_of(scrfd.join_inputs([found]), np.ones(1, np.float32))
    return best


def _half(side: int) -> int:
    return max(STRIDE, side // 2 // STRIDE * STRIDE)
