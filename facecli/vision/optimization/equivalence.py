"""Check on a real photo and on noise that another form of a network gives the original's results, and time it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facecli.config import Precision
from facecli.types import ByteArray, FloatArray
from facecli.vision.detection.letterbox import Letterbox
from facecli.vision.detection.network import FaceNetwork, find
from facecli.vision.detection.scrfd import BatchCandidates
from facecli.vision.packs.resolve import wheel_directory
from facecli.vision.recognition.alignment import CROP, align_faces
from facecli.vision.runtime.session import Session, Tensor

PHOTO = "players.jpg"
"""A photo in the default pack."""
LANDMARKS = np.array(
    [
        [[181, 437], [200, 437], [190, 448], [182, 456], [199, 456]],
        [[1055, 242], [1076, 241], [1065, 253], [1056, 262], [1073, 262]],
        [[669, 460], [688, 459], [678, 470], [670, 478], [687, 478]],
    ],
    np.float32,
)
"""float32 (3, 5, 2): landmarks of three of its faces, x and y in pixels."""
LEAST_COSINE = 0.99999
"""Least cosine of a rewrite that only changes the order of computation."""
LEAST_OF = {Precision.EXACT: (0.999, 0.9999), Precision.FAST: (0.998, 0.9995)}
"""Least cosine of any crop, and least mean cosine, for lower precision."""
SCORE_TOLERANCE = 1e-3
PIXEL_TOLERANCE = 0.02
RUNS = 4


class _FedWithValues:
    """A session over pixels that is given normalised values, and so can be compared with others."""

    def __init__(self, session: Session, normalisation: tuple[float, float]) -> None:
        self.provider, self.outputs = session.provider, session.outputs
        count, height, width, channels = session.input.shape
        self.input = Tensor(session.input.name, (count, channels, height, width))
        self._session, self._normalisation = session, normalisation

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network on the pixels that have the values `feed`, float32 (n, 3, h, w)."""
        return self._session.run(pixels_of(feed, self._normalisation))


def pixels_of(values: FloatArray, normalisation: tuple[float, float]) -> ByteArray:
    """The pixels, uint8 (n, h, w, 3), that have the normalised values `values`, float32 (n, 3, h, w)."""
    mean, factor = normalisation
    pixels = np.rint(values / np.float32(factor) + np.float32(mean)).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1))


def fed_with_values(session: Session, normalisation: tuple[float, float]) -> Session:
    """The session with normalised values as input, float32 (n, 3, h, w), if it takes pixels; else the session itself.

    Values must be those of pixels.
    """
    return _FedWithValues(session, normalisation) if session.input.pixels else session


def proving_crops(normalisation: tuple[float, float]) -> FloatArray:
    """Test input of a recogniser, float32 (5, 3, 112, 112): three faces (noise without the photo), and noise.

    RGB, (pixel - mean) * factor with `normalisation` = (mean, factor).
    """
    noise = np.random.default_rng(0).integers(0, 256, (2, CROP, CROP, 3), dtype=np.uint8)
    photo = _photo()
    faces = noise[::-1] if photo is None else align_faces(photo, LANDMARKS)
    mean, factor = normalisation
    crops = np.concatenate((faces, noise)).transpose(0, 3, 1, 2)
    return np.ascontiguousarray((crops.astype(np.float32) - np.float32(mean)) * np.float32(factor))


def proving_photos(side: int, normalisation: tuple[float, float]) -> FloatArray:
    """Test input of a detector, float32 (2, 3, side, side): a photo (noise without it), and smooth noise.

    RGB, (pixel - mean) * factor with `normalisation` = (mean, factor).
    """
    blob = np.empty((2, 3, side, side), np.float32)
    noise = np.random.default_rng(0).integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
    soft: ByteArray = cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    photo = _photo()
    box = Letterbox(*normalisation)
    box.fill(soft if photo is None else photo, blob[0])
    box.fill(soft, blob[1])
    return blob


def same_embeddings(original: Session, rewritten: Session, crops: FloatArray) -> bool:
    """Whether the rewritten network gives for a batch what the original gives crop by crop.

    crops: float32 (n, 3, 112, 112), normalised.
    """
    expected, given = embeddings_of(original, crops), rewritten.run(crops)[0]
    if given.shape != expected.shape:
        return False
    return bool(np.all(cosines(expected, given) >= LEAST_COSINE) and np.allclose(given, expected, rtol=1e-3, atol=1e-3))


def embeddings_of(session: Session, crops: FloatArray) -> FloatArray:
    """Outputs of a network, crop by crop: float32 (n, dimension). crops: float32 (n, 3, 112, 112), normalised."""
    return np.concatenate([session.run(crop[None])[0].reshape(1, -1) for crop in crops])


def cosines(expected: FloatArray, given: FloatArray) -> FloatArray:
    """Cosine of each row of `expected` with the same row of `given`: float64 (n,), -1 if undefined.

    expected, given: float32 (n, dimension). Half precision may overflow; infinity and NaN must not pass the check.
    """
    one, other = expected.astype(np.float64), given.reshape(len(expected), -1).astype(np.float64)
    with np.errstate(all="ignore"):
        found = np.sum(one * other, axis=1) / (np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1))
    return np.where(np.isfinite(found), found, -1.0)


def is_kept(found: FloatArray, precision: Precision) -> bool:
    """Whether cosines, float (n,), are as high as a precision promises."""
    least, mean = LEAST_OF[precision]
    return bool(found.min() >= least and found.mean() >= mean)


def same_faces(original: FaceNetwork, rewritten: FaceNetwork, blob: FloatArray) -> bool:
    """Whether the rewritten detector gives for a batch the candidates that the original gives input by input.

    blob: float32 (n, 3, side, side), normalised.
    """
    for number, image in enumerate(blob):
        everything = find(original, image[None], 0.0)
        if len(everything.scores) < 2:  # a broken detector: none of its scores is a number
            return False
        threshold = _clear_threshold(everything.scores)
        expected = everything.select(everything.scores >= threshold)
        if rewritten.session.input.shape[0] is None:
            found = find(rewritten, blob, threshold)
            found = found.select(found.owner == number)
        else:
            found = find(rewritten, image[None], threshold)
        if not _alike(expected, found):
            return False
    return True


def _alike(one: BatchCandidates, other: BatchCandidates) -> bool:
    return (
        one.boxes.shape == other.boxes.shape
        and np.allclose(one.scores, other.scores, rtol=SCORE_TOLERANCE, atol=0)
        and np.allclose(one.boxes, other.boxes, rtol=0, atol=PIXEL_TOLERANCE)
        and np.allclose(one.landmarks, other.landmarks, rtol=0, atol=PIXEL_TOLERANCE)
    )


def _clear_threshold(scores: FloatArray) -> float:
    """A threshold that rounding cannot move an anchor across: in the widest gap among the best scores.

    The gap is the widest as a ratio, between the 100th and the 400th best score.
    """
    best = (
        np.sort(scores.astype(np.float64))[::-1][100:400]
        if len(scores) > 400
        else np.sort(scores.astype(np.float64))[::-1]
    )
    gap = int(np.argmax(best[:-1] / np.maximum(best[1:], 1e-30)))
    return float(np.sqrt(best[gap] * best[gap + 1]))


def seconds_of(sessions: Sequence[Session], feed: FloatArray) -> list[float]:
    """The least seconds of several runs of each session, run in alternation.

    This counts the CPU time of this thread, in which a session on the CPU does all its work, so that other programs do
    not affect the result.
    """
    return [min(own) for own in timings(sessions, feed, RUNS, time.thread_time)]


def medians_of(sessions: Sequence[Session], feed: FloatArray, rounds: int) -> list[float]:
    """The median seconds of each session's runs, by wall clock, after one warm-up run of each; in alternation."""
    return [float(np.median(own[1:])) for own in timings(sessions, feed, 1 + rounds)]


def timings(
    sessions: Sequence[Session], feed: FloatArray, rounds: int, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """The seconds of each session's runs, run in alternation, since other threads may be busy meanwhile."""
    seconds: list[list[float]] = [[] for _ in sessions]
    for _ in range(rounds):
        for session, own in zip(sessions, seconds, strict=True):
            began = clock()
            session.run(feed)
            own.append(clock() - began)
    return seconds


def _photo() -> ByteArray | None:
    """The photo, uint8 (h, w, 3) RGB; None if not installed."""
    try:
        data = np.fromfile(os.path.join(wheel_directory(), PHOTO), np.uint8)
    except OSError:
        return None
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return None if decoded is None else decoded[..., ::-1].copy()  # type: ignore[return-value]
