"""GPUs with little memory, in total or free: smaller batches, but the same results."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from stand_in import stands_in

from facecli.config import DetectionOptions
from facecli.errors import DeviceFull
from facecli.vision import models as models_module
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime.cuda import Gpu, read_gpu
from facecli.vision.runtime.providers import Device
from facecli.vision.runtime.session import open_session

pytestmark = pytest.mark.gpu
MB = 1 << 20
SMALL_CARD_MB = 4096
SMALL_CARD = Gpu(0, "a small card", 3_300_000_000, SMALL_CARD_MB * MB)
"""What is free on one when CUDA and the networks are loaded."""


def limited(device: Device, size: int) -> Device:
    return replace(device, options=(*device.options, ("gpu_mem_limit", str(size))))


@contextmanager
def peak_memory(seen: list[int]) -> Iterator[None]:
    """Peak memory in MB used on the first GPU while the block runs, beyond the use before, as its driver says."""

    def used() -> int:
        gpu = read_gpu(0)
        assert gpu is not None
        return (gpu.memory_total - gpu.memory_free) // MB

    before, over, values = used(), threading.Event(), [0]

    def look() -> None:
        while not over.wait(0.05):
            values.append(used() - before)

    watch = threading.Thread(target=look)
    watch.start()
    try:
        yield
    finally:
        over.set()
        watch.join()
        seen.append(max(values))


def test_what_is_too_large_for_the_memory_is_told_from_a_failure(gpus: tuple[Device, ...]) -> None:
    session = open_session(find_pack(None).detector.path, limited(gpus[0], 64 * MB))
    with pytest.raises(DeviceFull):
        session.run(np.zeros((64, 3, 640, 640), np.float32))
    assert len(session.run(np.zeros((1, 3, 128, 128), np.float32))) == 9, "and it goes on with less"


def test_with_little_memory_batches_are_smaller_and_the_faces_the_same(
    gpus: tuple[Device, ...], on_gallery: Callable[..., Any], expected: Any
) -> None:
    found = on_gallery(gpus, further={"gpu_mem_limit": str((100 if stands_in() else 256) * MB)})
    assert found.cosines(expected).min() >= 0.999
    told = found.of_devices()
    assert all("has not the memory for a batch of" in line for line in told), "none is left out"
    assert 1 <= len(told) <= len(gpus), "said once for a device"


@pytest.mark.usefixtures("of_nvidia")
def test_a_card_of_four_gigabytes_is_enough(
    gpus: tuple[Device, ...], on_gallery: Callable[..., Any], least_faces: int
) -> None:
    """Each of the two networks gets half of the memory that CUDA itself leaves on such a card."""
    peak: list[int] = []
    with peak_memory(peak):
        found = on_gallery(gpus[:1], further={"gpu_mem_limit": str(1600 * MB)})
    assert sum(len(faces) for faces in found.faces.values()) > least_faces
    assert peak[0] < SMALL_CARD_MB, f"{peak[0]} MB in use"


@pytest.mark.usefixtures("of_nvidia")
def test_batches_are_planned_by_what_the_driver_says_is_free(
    gpus: tuple[Device, ...], notes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = read_gpu(gpus[0].number)
    assert now is not None
    assert 0 < now.memory_free <= now.memory_total
    largest = []
    for gpu in (now, SMALL_CARD, replace(SMALL_CARD, memory_free=0)):
        monkeypatch.setattr(models_module, "read_gpu", lambda _, gpu=gpu: gpu)
        models = open_served(find_pack(None), gpus[0], Needs(DetectionOptions()), Serving(64), notes)
        largest.append((models.detector.batches.most, models.embedder.batches.most))
    assert all(largest[0][stage] >= largest[1][stage] > largest[2][stage] == 1 for stage in range(2))
    assert len([line for line in notes.details if "GB free, so at most" in line]) == 3


@pytest.mark.usefixtures("of_nvidia")
def test_what_is_planned_for_a_small_card_fits_it(
    gpus: tuple[Device, ...], on_gallery: Callable[..., Any], least_faces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the plan limits the networks here."""
    monkeypatch.setattr(models_module, "read_gpu", lambda _: SMALL_CARD)
    peak: list[int] = []
    with peak_memory(peak):
        found = on_gallery(gpus[:1])
    assert sum(len(faces) for faces in found.faces.values()) > least_faces
    assert peak[0] < SMALL_CARD_MB, f"{peak[0]} MB in use"
    assert found.of_devices() == []
