"""A GPU finds the same faces as the CPU: alone, in batches and together with other GPUs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facecli.vision.serving.io_binding import BoundSession
from facecli.vision.serving.pinned_memory import PageLocked, blank_for
from facecli.vision.serving.pooled import PooledModels, Pooling, open_models_on

from facecli.config import DetectionOptions, Precision
from facecli.reporting import SilentReporter
from facecli.vision.devices.benchmark import run_trial
from facecli.vision.models import open_models
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime.providers import CPU, Device

pytestmark = pytest.mark.gpu
LEAST, MEAN = 0.999, 0.9999
PROCESSOR = Device("cpu", CPU)


def test_an_index_made_on_gpus_holds_what_one_made_on_the_processor_holds(
    gpus: tuple[Device, ...], index_on: Callable[..., Any], gallery: Path
) -> None:
    expected = index_on((PROCESSOR,), gallery)
    found = index_on(gpus, gallery)
    cosines = found.cosines(expected)
    assert len(cosines) > 200
    assert cosines.min() >= LEAST
    assert cosines.mean() >= MEAN
    assert found.report.provider == gpus[0].provider
    assert not [line for line in found.notes.warnings if "left out" in line]


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


def test_every_size_of_batch_gives_what_single_crops_give(gpus: tuple[Device, ...]) -> None:
    models = open_models_on(
        find_pack(None), gpus[:1], DetectionOptions(), Precision.EXACT, Pooling(SilentReporter(), 64)
    )
    crops = np.random.default_rng(0).integers(0, 256, (64, 112, 112, 3), np.uint8)
    alone = np.concatenate([models.embedder.embed(crop[None]) for crop in crops])
    for size in (2, 3, 7, 16, 33, 64):
        assert (models.embedder.embed(crops[:size]) * alone[:size]).sum(axis=1).min() >= 0.99999
    models.close()


def test_batches_lie_in_page_locked_memory(gpus: tuple[Device, ...]) -> None:
    blank = blank_for(gpus[0])
    assert isinstance(blank, PageLocked)
    assert blank._allocate(1 << 20) is not None, "the driver gives some"
    array = blank((4, 3, 112, 112), np.dtype(np.float32))
    array[:] = 1
    assert array.sum() == array.size
    models = open_models_on(find_pack(None), gpus, DetectionOptions(), Precision.EXACT, Pooling(SilentReporter(), 4))
    assert isinstance(models, PooledModels)
    assert all(
        isinstance(member.session, BoundSession)
        for session in models.pool.sessions.values()
        for member in session.members
    )
    models.close()


def test_one_photo_on_a_gpu_needs_no_pool(gpus: tuple[Device, ...]) -> None:
    models = open_models(find_pack(None), gpus[0], DetectionOptions())
    assert models.provider == gpus[0].provider
    assert models.detector.detect([np.zeros((300, 400, 3), np.uint8)])[0].boxes.shape == (0, 4)
