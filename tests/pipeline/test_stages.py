"""Tests of the stages from decoded photos to embedded faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facecli.config import DetectionOptions
from facecli.pipeline.stages import align_crops, detect_faces, embed_photos, split_by_photo
from facecli.types import Detections, Photo, PhotoFile
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.recognition.alignment import align_faces
from facecli.vision.runtime.providers import CPU, Device


@dataclass
class Finding:
    """Models whose detector finds the same faces in every photo."""

    found: Detections

    @property
    def detector(self) -> Any:
        return self

    def detect(self, photos: list[Any]) -> list[Detections]:
        return [self.found for _ in photos]


@pytest.mark.parametrize("number", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["boxes", "landmarks"])
def test_a_face_whose_place_is_no_number_is_none(part: str, number: float) -> None:
    places = {"boxes": np.ones((3, 4), np.float32), "landmarks": np.ones((3, 5, 2), np.float32)}
    places[part][1].flat[2] = number
    found = Detections(
        places["boxes"], np.array([0.9, 0.8, 0.7], np.float32), places["landmarks"], np.zeros(3, np.uint8)
    )
    photo = Photo(PhotoFile("/a.jpg", 1, 1), b"", np.zeros((8, 8, 3), np.uint8))
    (kept,) = detect_faces(Finding(found), [photo])  # type: ignore[arg-type]  # a fake
    assert kept.scores.tolist() == [np.float32(0.9), np.float32(0.7)]


def test_no_photo_has_no_faces(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))
    models = open_served(find_pack(None), Device("cpu", CPU), Needs(DetectionOptions()), Serving())
    assert embed_photos(models, []) == []


def test_crops_and_embeddings_of_a_batch_are_those_of_each_photo() -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (90, 120, 3), np.uint8) for _ in range(4)]
    photos[2] = photos[2][::-1]
    counts = [2, 0, 3, 1]
    found = [
        Detections(
            np.zeros((count, 4), np.float32),
            np.ones(count, np.float32),
            rng.uniform(10, 80, (count, 5, 2)).astype(np.float32),
            np.zeros(count, np.uint8),
        )
        for count in counts
    ]
    crops = align_crops(photos, found)
    alone = [align_faces(photo, faces.landmarks) for photo, faces in zip(photos, found, strict=True)]
    np.testing.assert_array_equal(crops, np.concatenate(alone))
    vectors = np.arange(12, dtype=np.float32).reshape(6, 2)
    parts = split_by_photo(vectors, found)
    assert [len(part) for part in parts] == counts
    np.testing.assert_array_equal(np.concatenate(parts), vectors)
