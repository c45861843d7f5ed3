"""Batches are planned by the driver's free memory: little, next to none, or no answer from the driver."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_driver import GB, MadeUpDriver
from notes import Notes
from onnx import TensorProto, shape_inference
from toys import Toy

from facecli.config import DetectionOptions
from facecli.vision import models as models_module
from facecli.vision.capacity import DETECTOR_BYTES, RECOGNISER_BYTES, RESERVE, largest_batches, row_bytes
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.optimization.rewrites.graph import Graph
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime import cuda, pinned_memory
from facecli.vision.runtime.cuda import Gpu, read_gpu, read_gpus
from facecli.vision.runtime.io_binding import BoundSession
from facecli.vision.runtime.providers import CPU, Device

WANTED = {"detect": 64, "embed": 64}
ROW = {"detect": 76_000_000, "embed": 15_000_000}


@pytest.fixture(autouse=True)
def _cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Callable[[MadeUpDriver | None], None]:
    """A function that installs a fake driver, or removes it."""

    def put(driver: MadeUpDriver | None) -> None:
        for module in (cuda, pinned_memory):
            monkeypatch.setattr(module, "load_driver", lambda: driver)

    return put


@pytest.fixture
def open_on_gpu(
    install: Callable[[MadeUpDriver | None], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., FaceModels]:
    """A function that opens the default pack on a GPU, which is the CPU under another name."""
    monkeypatch.setattr(models_module, "CPU", "")  # so that the processor is taken for an accelerator

    def start(driver: MadeUpDriver | None, notes: Notes, batch_size: int = 64, sharing: int = 1) -> FaceModels:
        install(driver)
        serving = Serving(batch_size, sharing)
        return open_served(find_pack(None), Device("cuda:1", CPU), Needs(DetectionOptions()), serving, notes)

    return start


def most_of(models: FaceModels) -> tuple[int, int]:
    """The largest batches of both networks."""
    return models.detector.batches.most, models.embedder.batches.most


def test_a_gpu_is_read_with_its_memory(install: Callable[[MadeUpDriver | None], None]) -> None:
    driver = MadeUpDriver(gpus=2, free=3 * GB, total=4 * GB)
    install(driver)
    assert read_gpus() == (Gpu(0, "Made-up 70", 3 * GB, 4 * GB), Gpu(1, "Made-up 71", 3 * GB, 4 * GB))
    assert driver.entered == [70, 71], "the memory is that of the context"
    driver.broken = True
    assert read_gpus() == ()
    install(None)
    assert (read_gpu(0), read_gpus()) == (None, ())


def test_with_much_memory_nothing_is_planned_smaller() -> None:
    assert largest_batches(20 * GB, ROW, WANTED, 2) == WANTED


@pytest.mark.parametrize(("free", "least"), [(3_400_000_000, 16), (6 * GB, 16), (600_000_000, 1), (0, 1)])
def test_what_is_planned_fits_and_is_one_at_the_least(free: int, least: int) -> None:
    most = largest_batches(free, ROW, WANTED, 2)
    assert min(most.values()) >= least
    assert max(most.values()) < 64
    if max(most.values()) > 1:
        assert 2 * sum(most[stage] * ROW[stage] for stage in most) <= free - RESERVE


def test_both_networks_shrink_together_and_half_precision_leaves_more() -> None:
    most = largest_batches(3 * GB, ROW, WANTED, 2)
    assert most["detect"] <= most["embed"] <= 2 * most["detect"]
    single, half = (row_bytes(find_pack(None), 640, half=half) for half in (False, True))
    assert (half["detect"], 2 * half["embed"]) == (single["detect"], pytest.approx(single["embed"], abs=1))
    assert largest_batches(3 * GB, ROW, {"detect": 1, "embed": 64}, 2)["detect"] == 1, (
        "an export for one input stays at that"
    )


@pytest.mark.parametrize(
    ("free", "total", "expected"),
    [(3_300_000_000, 4 * GB, (32, 32)), (500_000_000, 1 * GB, (1, 2)), (20 * GB, 24 * GB, (64, 64))],
    ids=["4 GB", "1 GB", "24 GB"],
)
def test_a_small_card_is_given_small_batches(
    free: int, total: int, expected: tuple[int, int], open_on_gpu: Callable[..., FaceModels]
) -> None:
    notes = Notes()
    models = open_on_gpu(MadeUpDriver(free=free, total=total), notes)
    assert most_of(models) == expected
    at_once = f"at most {expected[0]} photos and {expected[1]} faces at once"
    assert f"cuda:1: {free / 1e9:.1f} of {total / 1e9:.1f} GB free, so {at_once}" in notes.details
    assert isinstance(models.detector.batches.session, BoundSession)
    assert isinstance(models.embedder.batches.session, BoundSession)


def test_workers_that_share_a_card_share_its_memory(open_on_gpu: Callable[..., FaceModels]) -> None:
    driver = MadeUpDriver(free=20 * GB, total=24 * GB)
    assert most_of(open_on_gpu(driver, Notes(), sharing=8)) == (16, 32)


@pytest.mark.parametrize("free", [3_300_000_000, 500_000_000])
def test_small_batches_find_the_same(
    free: int, open_on_gpu: Callable[..., FaceModels], models: FaceModels, read_rgb: Callable[[str], Any]
) -> None:
    notes = Notes()
    small = open_on_gpu(MadeUpDriver(free=free, total=4 * GB), notes)
    photo = read_rgb("t1.jpg")
    [found], [wanted] = small.detector.detect([photo]), models.detector.detect([photo])
    np.testing.assert_allclose(found.boxes, wanted.boxes, atol=0.01)
    crops = np.random.default_rng(0).integers(0, 256, (40, 112, 112, 3), np.uint8)
    np.testing.assert_allclose(small.embedder.embed(crops), models.embedder.embed(crops), atol=1e-4)
    assert notes.warnings == []


def test_the_batch_size_that_is_asked_for_is_never_passed(open_on_gpu: Callable[..., FaceModels]) -> None:
    assert most_of(open_on_gpu(MadeUpDriver(), Notes(), 7)) == (4, 4), "the largest power of two in it"


@pytest.mark.parametrize("driver", [MadeUpDriver(broken=True), None], ids=["a driver that fails", "no driver"])
def test_without_an_answer_the_batches_are_found_out_by_trying(
    driver: MadeUpDriver | None, open_on_gpu: Callable[..., FaceModels]
) -> None:
    notes = Notes()
    assert most_of(open_on_gpu(driver, notes)) == (64, 64)
    assert not [line for line in notes.details if "GB free" in line]


def alive_bytes(data: bytes, shape: tuple[int, ...]) -> int:
    """Peak bytes of live values during the evaluation of a graph for an input of `shape`."""
    graph = Graph.read(data)
    model, name = graph.model, graph.input
    dimensions = next(i for i in model.graph.input if i.name == name).type.tensor_type.shape.dim
    for dimension, size in zip(dimensions, shape, strict=True):
        dimension.dim_value = size
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    inferred = shape_inference.infer_shapes(model, data_prop=True).graph
    sizes = {
        value.name: 4 * int(np.prod([d.dim_value for d in value.type.tensor_type.shape.dim]))
        for value in (*inferred.value_info, *inferred.input, *inferred.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
        and value.name not in {i.name for i in model.graph.initializer}
    }
    last = {source: number for number, node in enumerate(graph.nodes) for source in node.input}
    alive, most = {name: sizes[name]}, 0
    for number, node in enumerate(graph.nodes):
        alive |= {target: sizes.get(target, 0) for target in node.output}
        most = max(most, sum(alive.values()))
        alive = {value: size for value, size in alive.items() if last.get(value, len(graph.nodes)) > number}
    return most


def stem_of_det_10g() -> bytes:
    toy = Toy()
    x = "input"
    for number, channels in enumerate([(3, 28), (28, 28), (28, 56)]):
        x = toy.add("Relu", toy.conv(x, channels, stride=2 if number == 0 else 1))
    return toy.model([1, 3, 640, 640], [(x, [1, 56, 320, 320])])


def first_block_of_r100() -> bytes:
    toy = Toy()
    x = toy.prelu(toy.conv("input", (3, 64)), 64)
    y = toy.prelu(toy.conv(toy.norm(x, 64), (64, 64)), 64)
    y = toy.add("Add", toy.conv(y, (64, 64), stride=2), toy.conv(x, (64, 64), kernel=1, stride=2))
    return toy.model([1, 3, 112, 112], [(y, [1, 64, 56, 56])])


def default_detector() -> bytes:
    return Path(find_pack(None).detector.path).read_bytes()


def default_recogniser() -> bytes:
    return Path(find_pack(None).recogniser.path).read_bytes()


@pytest.mark.parametrize(("build", "number"), [(default_detector, 0), (stem_of_det_10g, 1)])
def test_no_known_detector_takes_more_than_is_reckoned(build: Callable[[], bytes], number: int) -> None:
    assert 0.5 < alive_bytes(build(), (1, 3, 640, 640)) / (DETECTOR_BYTES[number][1] * 640 * 640) <= 1


@pytest.mark.parametrize(("build", "number"), [(default_recogniser, 0), (first_block_of_r100, 1)])
def test_no_known_recogniser_takes_more_than_is_reckoned(build: Callable[[], bytes], number: int) -> None:
    assert 0.9 < alive_bytes(build(), (1, 3, 112, 112)) / (RECOGNISER_BYTES[number][1] * 112 * 112) <= 1
