"""Runs with I/O binding, on the CPU, give the same outputs as ordinary runs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.errors import DeviceError
from facecli.reporting import SilentReporter
from facecli.vision.detection.network import FaceNetwork
from facecli.vision.optimization.optimized import open_detector, open_recogniser
from facecli.vision.optimization.rewrites.graph import Graph
from facecli.vision.optimization.rewrites.surgery import rewrite_for_batches
from facecli.vision.optimization.variants import normalisation
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime.io_binding import BoundSession
from facecli.vision.runtime.providers import Device
from facecli.vision.runtime.session import OnnxSession, open_session


@pytest.fixture(scope="module")
def recogniser(cpu: Device, shared_cache: Any) -> OnnxSession:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        session = open_recogniser(find_pack(None).recogniser, cpu, SilentReporter())
    assert isinstance(session, OnnxSession)
    return session


@pytest.fixture(scope="module")
def detector(cpu: Device, shared_cache: Any) -> FaceNetwork:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        return open_detector(find_pack(None).detector, cpu, SilentReporter())


def noise(rows: int, side: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((rows, 3, side, side), np.float32)


def same(some: list[NDArray[Any]], others: list[NDArray[Any]]) -> bool:
    return len(some) == len(others) and all(
        a.shape == b.shape and np.array_equal(a, b) for a, b in zip(some, others, strict=True)
    )


def test_bound_runs_give_what_ordinary_runs_give_in_every_size(recogniser: OnnxSession) -> None:
    bound = BoundSession(recogniser, np.empty)
    for seed, rows in enumerate([1, 4, 4, 2, 1, 4, 2]):
        assert same(bound.run(noise(rows, 112, seed)), recogniser.run(noise(rows, 112, seed)))


def test_several_outputs_and_shapes_do_not_mix(detector: FaceNetwork) -> None:
    assert isinstance(detector.session, OnnxSession)
    bound = BoundSession(detector.session, np.empty)
    for seed, side in enumerate([64, 128, 64, 128, 64]):
        assert same(bound.run(noise(2, side, seed)), detector.session.run(noise(2, side, seed)))


def test_buffers_are_asked_for_once_and_grow(recogniser: OnnxSession) -> None:
    asked: list[int] = []

    def blank(shape: tuple[int, ...], kind: np.dtype[Any]) -> NDArray[Any]:
        asked.append(shape[0])
        return np.empty(shape, kind)

    bound = BoundSession(recogniser, blank)
    for rows in (1, 1, 1, 2, 2, 1, 2):
        bound.run(noise(rows, 112, rows))
    assert asked == [512, 1024]


def test_threads_have_buffers_of_their_own(recogniser: OnnxSession) -> None:
    bound = BoundSession(recogniser, np.empty)

    def holds(seed: int) -> bool:
        return same(bound.run(noise(2, 112, seed)), recogniser.run(noise(2, 112, seed)))

    with ThreadPoolExecutor(4) as crowd:
        assert all(crowd.map(holds, range(24)))


def test_what_goes_wrong_is_a_device_error(recogniser: OnnxSession) -> None:
    bound = BoundSession(recogniser, np.empty)
    with pytest.raises(DeviceError, match="the network failed"):
        bound.run(noise(1, 112, 0)[:, :2])
    bound._own.own.shapes[1, 2, 112, 112] = [(1, 512)]
    with pytest.raises(DeviceError, match="the network failed"):
        bound.run(noise(1, 112, 0)[:, :2])


def test_pixels_are_bound_too() -> None:
    file = find_pack(None).recogniser
    graph = Graph.read(Path(file.path).read_bytes())
    assert rewrite_for_batches(graph, *normalisation(file)) == []
    session = open_session(graph.to_bytes(), Device("cpu", "CPUExecutionProvider"))
    bound = BoundSession(session, np.empty)
    assert bound.input.pixels
    for seed, rows in enumerate([2, 2, 4, 2]):
        pixels = np.random.default_rng(seed).integers(0, 256, (rows, 112, 112, 3), np.uint8)
        assert same(bound.run(pixels), session.run(pixels))
