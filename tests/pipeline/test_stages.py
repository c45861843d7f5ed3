"""Tests of the stages from decoded photos to embedded faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from facecli.pipeline.stages import detect_faces
from facecli.types import Detections, Photo, PhotoFile


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
