"""The stages from decoded photos to embedded faces, as plain functions on lists, without queues or threads."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facecli.pipeline.clock import StageClock
from facecli.types import Detections, FaceCrops, FloatArray, IndexedPhoto, Photo
from facecli.vision.models import FaceModels
from facecli.vision.recognition.alignment import align_faces


def detect_faces(models: FaceModels, photos: Sequence[Photo]) -> list[Detections]:
    """Detect the faces of each photo; boxes and landmarks are in pixels of the upright photo."""
    return [_in_numbers(found) for found in models.detector.detect([photo.pixels for photo in photos])]


def _in_numbers(found: Detections) -> Detections:
    """The faces with finite boxes and landmarks; others come from an overflow of the network."""
    finite = np.flatnonzero(np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.landmarks).all(axis=(1, 2)))
    return found if len(finite) == len(found) else found.select(finite)


def align_crops(photos: Sequence[Photo], detections: Sequence[Detections]) -> FaceCrops:
    """Cut out the aligned crops of all faces of all photos, pooled: uint8 (m, 112, 112, 3), RGB."""
    crops = [align_faces(photo.pixels, found.landmarks) for photo, found in zip(photos, detections, strict=True)]
    owner = np.repeat(np.arange(len(photos), dtype=np.int32), [len(found) for found in detections])
    return FaceCrops(np.concatenate(crops) if crops else np.zeros((0, 112, 112, 3), np.uint8), owner)


def embed_crops(models: FaceModels, crops: FaceCrops) -> FloatArray:
    """Compute the embedding of each crop: float32 (m, d), unit length."""
    return models.embedder.embed(crops.pixels)


def join_photos(
    photos: Sequence[Photo], detections: Sequence[Detections], crops: FaceCrops, embeddings: FloatArray
) -> list[IndexedPhoto]:
    """Join each photo with its faces and their embeddings, float32 (m, d), in the order of the crops."""
    return [
        IndexedPhoto(
            photo.file, photo.digest, photo.width, photo.height, found, embeddings[crops.owner == number], photo.capture
        )
        for number, (photo, found) in enumerate(zip(photos, detections, strict=True))
    ]


def embed_photos(models: FaceModels, photos: Sequence[Photo], clock: StageClock | None = None) -> list[IndexedPhoto]:
    """Detect, align and embed the faces of a batch of photos."""
    clock = clock or StageClock()
    with clock.busy("detect"):
        detections = detect_faces(models, photos)
    with clock.busy("align"):
        crops = align_crops(photos, detections)
    with clock.busy("embed"):
        embeddings = embed_crops(models, crops)
    return join_photos(photos, detections, crops, embeddings)
