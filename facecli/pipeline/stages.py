"""The stages from decoded photos to embedded faces, as plain functions on lists, without queues or threads."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from facecli.pipeline.clock import StageClock
from facecli.types import ByteArray, Detections, FloatArray, IndexedPhoto, Photo
from facecli.vision.models import FaceModels
from facecli.vision.recognition.alignment import CROP, cut_crops, fit_similarity


def detect_faces(models: FaceModels, photos: Sequence[Photo]) -> list[Detections]:
    """Detect the faces of each photo; boxes and landmarks are in pixels of the upright photo."""
    return in_numbers(models.detector.detect([photo.pixels for photo in photos]))


def in_numbers(found: Sequence[Detections]) -> list[Detections]:
    """The faces with finite boxes and landmarks; others come from an overflow of the network."""
    return [_in_numbers(faces) for faces in found]


def _in_numbers(found: Detections) -> Detections:
    if np.isfinite(found.boxes).all() and np.isfinite(found.landmarks).all():
        return found
    finite = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.landmarks).all(axis=(1, 2))
    return found.select(np.flatnonzero(finite))


def align_crops(photos: Sequence[ByteArray], detections: Sequence[Detections]) -> ByteArray:
    """Cut out the aligned crops of all faces of all photos into one array: uint8 (m, 112, 112, 3), RGB.

    photos: uint8 (h, w, 3), RGB, upright, any strides.
    """
    counts = [len(found) for found in detections]
    landmarks = [np.zeros((0, 5, 2), np.float32), *(found.landmarks for found in detections)]
    matrices = fit_similarity(np.concatenate(landmarks))
    crops, start = np.empty((len(matrices), CROP, CROP, 3), np.uint8), 0
    for pixels, count in zip(photos, counts, strict=True):
        if count:
            cut_crops(pixels, matrices[start : start + count], crops[start : start + count])
            start += count
    return crops


def split_by_photo(embeddings: FloatArray, detections: Sequence[Detections]) -> list[FloatArray]:
    """The embeddings, float32 (m, d), of each photo's faces; `embeddings` has those of all photos in order."""
    ends = list(itertools.accumulate(map(len, detections)))
    return [embeddings[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def with_faces(photo: Photo, found: Detections, embeddings: FloatArray) -> IndexedPhoto:
    """A photo with its faces and their embeddings, float (n, d)."""
    return IndexedPhoto(photo.file, photo.digest, photo.width, photo.height, found, embeddings, photo.capture)


def embed_photos(models: FaceModels, photos: Sequence[Photo], clock: StageClock | None = None) -> list[IndexedPhoto]:
    """Detect, align and embed the faces of a batch of photos."""
    clock = clock or StageClock()
    with clock.busy("detect"):
        detections = detect_faces(models, photos)
    with clock.busy("align"):
        crops = align_crops([photo.pixels for photo in photos], detections)
    with clock.busy("embed"):
        embeddings = split_by_photo(models.embedder.embed(crops), detections)
    return [
        with_faces(photo, found, vectors) for photo, found, vectors in zip(photos, detections, embeddings, strict=True)
    ]
