"""Small GPUs, and those that others fill: less at once, never something else."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facecli.errors import DeviceFull
from facecli.vision.packs import find_pack
from facecli.vision.providers import CPU, Device
from facecli.vision.session import open_session

pytestmark = pytest.mark.gpu
MB = 1 << 20
SMALL_CARD_MB = 4096


def limited(device: Device, size: int) -> Device:
    return replace(device, options=(*device.options, ("gpu_mem_limit", str(size))))


@contextmanager
def peak_memory(seen: list[int]) -> Iterator[None]:
    """The most memory in use on the first GPU while the block runs, in MB, beyond what was in use before."""
    command = ["nvidia-smi", "-i", "0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]

    def used() -> int:
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

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


def test_with_little_memory_batches_are_smaller_and_the_faces_the_same(gpus: tuple[Device, ...], index_on: Callable[..., Any], gallery: Path) -> None:
    expected = index_on((Device("cpu", CPU),), gallery)
    found = index_on(gpus, gallery, further={"gpu_mem_limit": str(256 * MB)})
    assert found.cosines(expected).min() >= 0.999
    assert not [line for line in found.notes.warnings if "left out" in line]


@pytest.mark.skipif(shutil.which("nvidia-smi") is None, reason="nvidia-smi tells how much memory is in use")
def test_a_card_of_four_gigabytes_is_enough(gpus: tuple[Device, ...], index_on: Callable[..., Any], gallery: Path) -> None:
    """Each of the two networks has half of what CUDA itself leaves of such a card."""
    peak: list[int] = []
    with peak_memory(peak):
        found = index_on(gpus[:1], gallery, further={"gpu_mem_limit": str(1600 * MB)})
    assert sum(len(faces) for faces in found.faces.values()) > 200
    assert peak[0] < SMALL_CARD_MB, f"{peak[0]} MB in use"
