"""A GPU finds the same faces as the CPU: alone, in batches and together with other GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from speed_corpora import make_corpora
from stand_in import stands_in

from facecli.config import DetectionOptions
from facecli.vision.devices.benchmark import run_trial
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.recognition.alignment import align_faces
from facecli.vision.runtime.io_binding import BoundSession
from facecli.vision.runtime.pinned_memory import PageLocked, blank_for
from facecli.vision.runtime.providers import CPU, Device

pytestmark = pytest.mark.gpu
LEAST, MEAN = 0.999, 0.9999
PROCESSOR = Device("cpu", CPU)
COUNTS = {"small": (60, 6), "web": (30, 3), "large": (8, 2)}
"""Photos of each kind: on a GPU, and where the processor stands in."""


def test_an_index_made_on_gpus_holds_what_one_made_on_the_processor_holds(
    gpus: tuple[Device, ...], on_gallery: Callable[..., Any], expected: Any, least_faces: int
) -> None:
    found = on_gallery(gpus)
    cosines = found.cosines(expected)
    assert len(cosines) > least_faces
    assert cosines.min() >= LEAST
    assert cosines.mean() >= MEAN
    assert found.report.provider == gpus[0].provider
    assert found.of_devices() == []


@pytest.mark.parametrize("kind", COUNTS)
def test_photos_of_every_size_give_the_same_faces(
    kind: str, gpus: tuple[Device, ...], index_on: Callable[..., Any], tmp_path: Path
) -> None:
    make_corpora(tmp_path, {kind: COUNTS[kind][stands_in()]})
    cosines = index_on(gpus, tmp_path / kind).cosines(index_on((PROCESSOR,), tmp_path / kind))
    assert len(cosines) >= COUNTS[kind][stands_in()]
    assert cosines.min() >= LEAST


def test_a_gpu_computes_in_whole_single_precision(gpus: tuple[Device, ...]) -> None:
    """With TF32, results would differ by a thousandth."""
    outcome, reference = run_trial(find_pack(None), gpus[0]), run_trial(find_pack(None), PROCESSOR)
    for one, other in ((outcome.embedding, reference.embedding), (outcome.detection, reference.detection)):
        scale = float(np.abs(other).max())
        assert float(np.abs(one - other).max()) <= 1e-4 * scale


def test_each_gpu_gives_what_the_first_gives(gpus: tuple[Device, ...]) -> None:
    outcomes = [run_trial(find_pack(None), device) for device in gpus]
    for outcome in outcomes[1:]:
        assert min(outcome.agreement(outcomes[0])) >= 0.999999


@pytest.fixture(scope="module")
def models(gpus: tuple[Device, ...]) -> FaceModels:
    """The default pack on the first GPU, for batches."""
    return open_served(find_pack(None), gpus[0], Needs(DetectionOptions()), Serving())


def test_every_size_of_batch_gives_what_single_crops_give(models: FaceModels) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), np.uint8)
    alone = np.concatenate([models.embedder.embed(crop[None]) for crop in crops])
    for size in (2, 3, 7, 16, 33, 64):
        assert (models.embedder.embed(crops[:size]) * alone[:size]).sum(axis=1).min() >= 0.99999


def test_the_networks_take_pixels_and_normalise_them_on_the_gpu(
    models: FaceModels, find_sample: Callable[[str], Path]
) -> None:
    assert models.detector.batches.session.input.pixels
    assert models.embedder.batches.session.input.pixels
    on_cpu = open_served(find_pack(None), PROCESSOR, Needs(DetectionOptions()), Serving())
    photos = [cv2.imread(str(find_sample(name)))[..., ::-1].copy() for name in ("players.jpg", "t1.jpg", "gdp.jpg")]
    photos += [photo[::-1, ::-1] for photo in photos]
    for photo, mine, theirs in zip(photos, models.detector.detect(photos), on_cpu.detector.detect(photos), strict=True):
        np.testing.assert_allclose(mine.boxes, theirs.boxes, atol=0.5)
        np.testing.assert_array_equal(mine.found_by, theirs.found_by)
        crops = align_faces(photo, theirs.landmarks)
        assert (models.embedder.embed(crops) * on_cpu.embedder.embed(crops)).sum(axis=1).min() >= LEAST


@pytest.mark.usefixtures("of_nvidia")
def test_batches_lie_in_page_locked_memory(gpus: tuple[Device, ...], models: FaceModels) -> None:
    blank = blank_for(gpus[0])
    assert isinstance(blank, PageLocked)
    assert blank._allocate(1 << 20) is not None, "the driver gives some"
    array = blank((4, 112, 112, 3), np.dtype(np.uint8))
    array[:] = 1
    assert array.sum() == array.size
    for batches in (models.detector.batches, models.embedder.batches):
        assert isinstance(batches.session, BoundSession)
        assert isinstance(batches.blank, PageLocked)


def test_a_photo_without_a_face_has_none_on_a_gpu(models: FaceModels, gpus: tuple[Device, ...]) -> None:
    assert models.provider == gpus[0].provider
    assert models.detector.detect([np.zeros((300, 400, 3), np.uint8)])[0].boxes.shape == (0, 4)
