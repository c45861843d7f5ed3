"""Opening a pack: errors are one line, and open models can be used by many threads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.config import DetectionOptions
from facecli.errors import PackError, UsageError
from facecli.types import Detections
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.packs.resolve import ModelPack, find_pack


@pytest.fixture
def pack() -> ModelPack:
    return find_pack(None)


@pytest.mark.parametrize("role", ["detector", "recogniser"])
def test_a_broken_model_file_is_named(role: str, pack: ModelPack, cpu: Device, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model at all")
    changed = replace(pack, **{role: replace(getattr(pack, role), path=str(broken), sha256="0" * 64)})
    with pytest.raises(PackError) as told:
        open_served(changed, cpu, Needs(DetectionOptions()), Serving())
    assert told.value.where == str(broken)
    assert told.value.hint


def test_a_model_that_gives_no_landmarks_is_refused(pack: ModelPack, cpu: Device) -> None:
    changed = replace(pack, detector=replace(pack.recogniser, sha256="1" * 64, input_size=None))
    with pytest.raises(PackError, match="not an SCRFD with landmarks"):
        open_served(changed, cpu, Needs(DetectionOptions()), Serving())


def test_an_embedding_of_another_length_is_refused(pack: ModelPack, cpu: Device) -> None:
    with pytest.raises(PackError, match="gives 512 numbers, not 128"):
        open_served(replace(pack, dimension=128), cpu, Needs(DetectionOptions()), Serving())


@pytest.mark.parametrize("options", [DetectionOptions(det_size=600), DetectionOptions(small_scale=100)])
def test_a_size_that_the_detector_cannot_divide_is_refused(
    options: DetectionOptions, pack: ModelPack, cpu: Device
) -> None:
    with pytest.raises(UsageError, match="multiple of 32"):
        open_served(pack, cpu, Needs(options), Serving())


def test_faces_that_are_too_small_or_too_weak_are_left_out(
    models: FaceModels, pack: ModelPack, cpu: Device, read_rgb: Callable[[str], NDArray[np.uint8]]
) -> None:
    photo = read_rgb("players.jpg")
    everything = models.detector.detect([photo])[0]
    large = open_served(pack, cpu, Needs(DetectionOptions(min_face=30)), Serving()).detector.detect([photo])[0]
    sure = open_served(pack, cpu, Needs(DetectionOptions(min_score=0.8)), Serving()).detector.detect([photo])[0]
    sides = (everything.boxes[:, 2:] - everything.boxes[:, :2]).min(axis=1)
    np.testing.assert_array_equal(large.boxes, everything.boxes[sides >= 30])
    np.testing.assert_array_equal(sure.boxes, everything.boxes[everything.scores >= 0.8])
    assert 0 < len(sure) < len(everything)
    assert 0 < len(large) < len(everything)


def test_threads_share_the_models(models: FaceModels, read_rgb: Callable[[str], NDArray[np.uint8]]) -> None:
    photos = [read_rgb(name) for name in ("gdp.jpg", "astronaut.png", "t1.jpg", "yaoming.jpg")]
    expected = models.detector.detect(photos)
    found: dict[int, Detections] = {}

    def work(number: int) -> None:
        for _ in range(3):
            found[number] = models.detector.detect([photos[number]])[0]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(len(photos))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, faces in enumerate(expected):
        np.testing.assert_array_equal(found[number].boxes, faces.boxes)
        np.testing.assert_array_equal(found[number].landmarks, faces.landmarks)
