"""Half precision for a recogniser: converted, compared, timed (by a counter), cached; the CPU is the accelerator."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_up_driver import MadeUpDriver
from msgspec.structs import replace
from notes import Notes
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from toys import iresnet

from facecli.config import DetectionOptions, Precision
from facecli.errors import DeviceError, DeviceFull
from facecli.vision import models as models_module
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.optimization import equivalence, half_precision, optimized
from facecli.vision.optimization.half_precision import HalfSession, choose_precision
from facecli.vision.optimization.rewrites import half
from facecli.vision.optimization.rewrites.graph import Graph
from facecli.vision.optimization.rewrites.half import halve
from facecli.vision.optimization.rewrites.surgery import open_axes
from facecli.vision.optimization.variants import RewriteTarget
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime import cuda
from facecli.vision.runtime.providers import CPU
from facecli.vision.runtime.session import OnnxSession, Session, open_session

PROCESSOR = Device("cpu", CPU)


class Clock:
    """Goes on by a millisecond when it is read, and by what slow sessions take."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


CLOCK = Clock()


class Slow:
    """A session that is slow by the clock."""

    def __init__(self, session: Session, seconds: float = 0.1) -> None:
        self.provider, self.input, self.outputs = session.provider, session.input, session.outputs
        self.session, self.seconds = session, seconds

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        CLOCK.now += self.seconds
        return self.session.run(feed)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(half_precision, "ROUNDS", 2)
    monkeypatch.setattr(half_precision, "ROWS", (4, 2, 1))
    monkeypatch.setattr(equivalence.timings, "__defaults__", (CLOCK,))
    return tmp_path / "facecli" / "graphs"


@pytest.fixture
def shop() -> RewriteTarget:
    return RewriteTarget(find_pack(None).recogniser, PROCESSOR, Notes())


def said(shop: RewriteTarget) -> list[str]:
    assert isinstance(shop.report, Notes)
    return shop.report.details


def single(shop: RewriteTarget) -> Session:
    return open_session(shop.file.path, shop.device)


def choose(shop: RewriteTarget, precision: Precision = Precision.EXACT, *, slow: bool = True) -> Session:
    """Choose a precision, compared with a session in single precision that is slow or not."""
    return choose_precision(shop, precision, lambda: Slow(single(shop)) if slow else single(shop))


def halved(data: bytes) -> onnx.ModelProto:
    graph = Graph.read(data)
    open_axes(graph)
    assert halve(graph)
    return onnx.load_model_from_string(graph.to_bytes())


def rounded(model: onnx.ModelProto, feed: NDArray[np.float32]) -> NDArray[np.float32]:
    """Outputs of a model with every intermediate value rounded to its type.

    ONNX Runtime has no half precision kernels for the CPU and does not round between the nodes that it casts; so each
    node is run separately.
    """
    values = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
    values[next(i.name for i in model.graph.input if i.name not in values)] = feed
    waiting = list(model.graph.node)
    while waiting:
        node = waiting.pop(next(n for n, node in enumerate(waiting) if all(name in values for name in node.input)))
        inputs = {name: values[name] for name in node.input}
        described = [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
            for n, v in inputs.items()
        ]
        alone = helper.make_graph([node], "alone", described, [onnx.ValueInfoProto(name=node.output[0])])
        one = helper.make_model(alone, opset_imports=model.opset_import, ir_version=model.ir_version)
        values[node.output[0]] = open_session(one.SerializeToString(), PROCESSOR).native.run(None, inputs)[0]
    return values[model.graph.output[0].name]


def test_every_weight_is_halved_and_input_and_output_are_not(shop: RewriteTarget) -> None:
    model = halved(Path(shop.file.path).read_bytes())
    assert {i.data_type for i in model.graph.initializer} == {TensorProto.FLOAT16}
    session = open_session(model.SerializeToString(), PROCESSOR)
    assert (session.native.get_inputs()[0].type, session.native.get_outputs()[0].type) == (
        "tensor(float)",
        "tensor(float)",
    )
    assert session.input.shape[0] is session.outputs[0].shape[0] is None


def test_the_default_pack_keeps_its_embeddings_where_every_value_is_rounded(shop: RewriteTarget) -> None:
    crops = equivalence.proving_crops(shop.normalisation)
    cosines = equivalence.cosines(single(shop).run(crops)[0], rounded(halved(Path(shop.file.path).read_bytes()), crops))
    assert equivalence.is_kept(cosines, Precision.EXACT)
    assert cosines.min() >= 0.9999, "and by far"
    assert cosines.min() < 1 - 1e-6, "it was rounded"


def test_the_pattern_of_the_large_packs_keeps_them_too() -> None:
    data = iresnet(32)
    crops = np.random.default_rng(0).normal(0, 1, (4, 3, 32, 32)).astype(np.float32)
    expected = equivalence.embeddings_of(open_session(data, PROCESSOR), crops)
    assert equivalence.is_kept(equivalence.cosines(expected, rounded(halved(data), crops)), Precision.EXACT)


@pytest.mark.parametrize("precision", list(Precision))
def test_what_is_proved_and_faster_is_taken_told_and_kept(
    precision: Precision, shop: RewriteTarget, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = choose(shop, precision)
    assert isinstance(chosen, HalfSession)
    [line] = said(shop)
    assert line.startswith("w600k_mbf.onnx on cpu computes in half precision: cosine 0.9999")
    [entry] = [f.stem for f in cache.iterdir() if f.suffix == ".onnx"]
    assert f"-recogniser-half-{precision}-" in entry
    monkeypatch.setattr(half_precision, "maker", pytest.fail)
    again = choose_precision(shop, precision, pytest.fail)
    assert isinstance(again, HalfSession)
    assert said(shop) == [line, line]
    assert chosen.input.pixels
    assert again.input == chosen.input
    crops = np.random.default_rng(0).integers(0, 256, (2, 112, 112, 3), np.uint8)
    np.testing.assert_array_equal(again.run(crops)[0], chosen.run(crops)[0])


def test_what_is_no_faster_is_left_told_and_not_tried_again(
    shop: RewriteTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = half_precision.open_rewrite
    monkeypatch.setattr(half_precision, "open_rewrite", lambda *made: (Slow(opened(*made)[0]), opened(*made)[1]))
    assert type(choose(shop, slow=False)) is OnnxSession
    [line] = said(shop)
    assert line.startswith("w600k_mbf.onnx on cpu computes in single precision; in half precision it takes ")
    assert line.endswith("% of the time")
    monkeypatch.setattr(half_precision, "maker", pytest.fail)
    assert type(choose(shop, slow=False)) is OnnxSession
    assert said(shop) == [line, line]


def spoil(change: Callable[[NDArray[Any]], NDArray[Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the conversion produce wrong weights."""

    def wrong(graph: Graph) -> bool:
        done = halve(graph)
        for constant in graph.model.graph.initializer:
            constant.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(constant)), constant.name))
        return done

    monkeypatch.setattr(half, "halve", wrong)


def coarse(weights: NDArray[Any]) -> NDArray[Any]:
    """Keep only two of the ten mantissa bits of half precision."""
    return (weights.view(np.uint16) & 0xFF00).view(np.float16)


def overflown(weights: NDArray[Any]) -> NDArray[Any]:
    return np.where(np.arange(weights.size).reshape(weights.shape) == 0, np.inf, weights).astype(np.float16)


@pytest.mark.parametrize("change", [coarse, overflown, np.zeros_like])
def test_embeddings_that_differ_or_are_no_numbers_are_refused(
    change: Callable[[NDArray[Any]], NDArray[Any]], shop: RewriteTarget, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(change, monkeypatch)
    assert isinstance(choose(shop), Slow)
    assert "single precision; in half precision its embeddings differ (cosine " in said(shop)[0]
    assert [f.suffix for f in cache.iterdir()] == [""], "the refusal is kept, no model"


def test_a_graph_that_the_converter_does_not_take_stays(shop: RewriteTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("no such node")

    monkeypatch.setattr(half, "convert_float_to_float16", fail)
    assert isinstance(choose(shop), Slow)
    assert said(shop)[0].endswith("; in half precision its graph cannot be written")


def test_without_its_converter_a_device_computes_in_single_precision_and_tries_again_later(
    shop: RewriteTarget, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, half.__name__, None)
    assert isinstance(choose(shop), Slow)
    assert "; in half precision it cannot be converted (import of " in said(shop)[0]
    assert not cache.exists(), "the converter may be there tomorrow"


def test_a_device_that_does_not_run_it_stays(shop: RewriteTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        open_session(b"nothing", PROCESSOR)

    monkeypatch.setattr(half_precision, "open_rewrite", fail)
    assert isinstance(choose(shop), Slow)
    assert "; in half precision it fails (" in said(shop)[0]


class Lost(Slow):
    """A session whose device is lost."""

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        raise DeviceError("the network failed", "test", hint="fell off the bus")


def test_a_device_that_is_lost_in_the_trial_is_not_held_against_half_precision(
    shop: RewriteTarget, cache: Path
) -> None:
    with pytest.raises(DeviceError, match="the network failed"):
        choose_precision(shop, Precision.EXACT, lambda: Lost(single(shop)))
    assert not cache.exists() or not [f for f in cache.iterdir() if "half" in f.name]
    assert isinstance(choose(shop), HalfSession)


class Narrow(Slow):
    """A session with memory for some rows only."""

    def __init__(self, session: Session, room: int) -> None:
        super().__init__(session)
        self.room, self.seen = room, list[int]()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        if len(feed) > self.room:
            raise DeviceFull("the device is out of memory", "test", hint="out of memory")
        self.seen.append(len(feed))
        return super().run(feed)


def test_the_trial_takes_fewer_rows_where_memory_is_short_and_comes_again_where_there_is_none(
    shop: RewriteTarget, cache: Path
) -> None:
    full = Narrow(single(shop), 0)
    assert choose_precision(shop, Precision.EXACT, lambda: full) is full
    assert "it is out of memory now (out of memory)" in said(shop)[0]
    assert not cache.exists() or not [f for f in cache.iterdir() if "half" in f.name]
    narrow = Narrow(single(shop), 2)
    assert isinstance(choose_precision(shop, Precision.EXACT, lambda: narrow), HalfSession)
    assert set(narrow.seen) == {1, 2}


def test_a_recogniser_for_one_crop_at_a_time_is_tried_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equivalence, "CROP", 32)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32)).astype(np.float32)
    monkeypatch.setattr(equivalence, "proving_crops", lambda chosen: (pixels - np.float32(chosen[0])) * chosen[1])
    path = tmp_path / "toy.onnx"
    path.write_bytes(iresnet(32))
    file = replace(find_pack(None).recogniser, path=str(path), sha256="7" * 64)
    shop = RewriteTarget(file, PROCESSOR, Notes())
    assert single(shop).input.shape[0] == 1
    assert isinstance(choose(shop), HalfSession)


def test_what_a_precision_promises() -> None:
    assert equivalence.is_kept(np.array([0.9991, *[1.0] * 20]), Precision.EXACT)
    assert not equivalence.is_kept(np.array([0.9989, *[1.0] * 99]), Precision.EXACT)
    assert not equivalence.is_kept(np.array([0.9995, 1.0]), Precision.EXACT)
    assert equivalence.is_kept(np.array([0.9989, *[1.0] * 99]), Precision.FAST)
    assert not equivalence.is_kept(np.array([0.9979, *[1.0] * 99]), Precision.FAST)
    assert not equivalence.is_kept(np.array([0.9985, 1.0]), Precision.FAST)


def test_what_is_no_direction_has_no_cosine() -> None:
    expected = np.ones((4, 2), np.float32)
    given = np.array([[1, 1], [np.nan, 1], [np.inf, np.inf], [0, 0]], np.float32)
    np.testing.assert_allclose(equivalence.cosines(expected, given), [1, -1, -1, -1])


@pytest.fixture
def as_accelerator(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[FaceModels, Notes]]:
    """A function that opens the default pack on the CPU treated as an accelerator.

    Half precision is faster there or not.
    """
    monkeypatch.setattr(models_module, "CPU", "")
    monkeypatch.setattr(optimized, "CPU", "")

    def start(precision: Precision, *, faster: bool) -> tuple[FaceModels, Notes]:
        monkeypatch.setattr(half_precision, "LEAST_GAIN", 1e9 if faster else 0.0)
        told = Notes()
        needs = Needs(DetectionOptions(), precision)
        return open_served(find_pack(None), Device("cpu:1", CPU), needs, Serving(), told), told

    return start


@pytest.mark.parametrize("precision", list(Precision))
def test_on_an_accelerator_the_recogniser_alone_is_halved(
    precision: Precision, as_accelerator: Callable[..., tuple[FaceModels, Notes]], models: Any, cache: Path
) -> None:
    opened, told = as_accelerator(precision, faster=True)
    assert isinstance(opened.embedder.batches.session, HalfSession)
    assert opened.embedder.batches.session.input.pixels
    assert len([line for line in told.details if "computes in half precision" in line]) == 1
    assert not [line for line in told.details if "no effect" in line]
    assert [f.name for f in cache.iterdir() if "half" in f.name and "-detector" in f.name] == []
    crops = np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), np.uint8)
    assert equivalence.is_kept((opened.embedder.embed(crops) * models.embedder.embed(crops)).sum(axis=1), precision)


def test_fast_precision_without_effect_is_said(as_accelerator: Callable[..., tuple[FaceModels, Notes]]) -> None:
    opened, told = as_accelerator(Precision.FAST, faster=False)
    assert not isinstance(opened.embedder.batches.session, HalfSession)
    assert "fast precision has no effect on cpu:1: the networks run in single precision" in told.details
    opened, told = as_accelerator(Precision.EXACT, faster=False)
    assert not [line for line in told.details if "no effect" in line]


def test_the_processor_itself_is_not_asked(shop: RewriteTarget, cache: Path) -> None:
    assert not isinstance(optimized.open_recogniser(shop.file, PROCESSOR, shop.report, Precision.FAST), HalfSession)
    assert said(shop) == []
    assert not [f for f in cache.iterdir() if "half" in f.name]


def test_each_make_of_gpu_has_an_answer_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "load_driver", MadeUpDriver)
    one, same, other = (half_precision._hardware(Device(name, CPU)) for name in ("cuda:0", "tensorrt:0", "cuda:1"))
    assert one == same != other
    monkeypatch.setattr(cuda, "load_driver", lambda: None)
    assert half_precision._hardware(Device("cuda:0", CPU)) == half_precision._hardware(Device("cuda:1", CPU))
    assert half_precision._hardware(Device("cpu:7", CPU))
