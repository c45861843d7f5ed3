"""The stages from decoded photos to embedded faces: lists in, lists out, no queue and no thread inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facecli.pipeline.clock import StageClock
from facecli.types import Detections, FaceCrops, FloatArray, IndexedPhoto, Photo
from facecli.vision.models import FaceModels
from facecli.vision.recognition.alignment import align_faces


def detect_faces(models: FaceModels, photos: Sequence[Photo]) -> list[Detections]:
    """The faces of each photo, in pixels of the upright photo."""
    return [_in_numbers(found) for found in models.detector.detect([photo.pixels for photo in photos])]


def _in_numbers(found: Detections) -> Detections:
    """The faces whose place is finite: a network that overflows somewhere in a photo has found nothing there."""
    finite = np.flatnonzero(np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.landmarks).all(axis=(1, 2)))
    return found if len(finite) == len(found) else found.select(finite)


def align_crops(photos: Sequence[Photo], detections: Sequence[Detections]) -> FaceCrops:
    """The aligned crops of all faces of all photos, pooled: uint8 (m, 112, 112, 3), RGB."""
    crops = [align_faces(photo.pixels, found.landmarks) for photo, found in zip(photos, detections, strict=True)]
    owner = np.repeat(np.arange(len(photos), dtype=np.int32), [len(found) for found in detections])
    return FaceCrops(np.concatenate(crops) if crops else np.zeros((0, 112, 112, 3), np.uint8), owner)


def embed_crops(models: FaceModels, crops: FaceCrops) -> FloatArray:
    """The embedding of each crop: float32 (m, d), unit length."""
    return models.embedder.embed(crops.pixels)


def join_photos(
    photos: Sequence[Photo], detections: Sequence[Detections], crops: FaceCrops, embeddings: FloatArray
) -> list[IndexedPhoto]:
    """Give each photo its faces and their embeddings back."""
    return [
        IndexedPhoto(photo.file, photo.digest, photo.width, photo.height, found, embeddings[crops.owner == number])
        for number, (photo, found) in enumerate(zip(photos, detections, strict=True))
    ]


def embed_photos(models: FaceModels, photos: Sequence[Photo], clock: StageClock | None = None) -> list[IndexedPhoto]:
    """The whole chain for a batch of photos: detect, align, embed."""
    clock = clock or StageClock()
    with clock.busy("detect"):
        detections = detect_faces(models, photos)
    with clock.busy("align"):
        crops = align_crops(photos, detections)
    with clock.busy("embed"):
        embeddings = embed_crops(models, crops)
    return join_photos(photos, detections, crops, embeddings)
