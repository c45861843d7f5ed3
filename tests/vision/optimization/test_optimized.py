"""Rewritten models are made once, verified, and cached; the cache may be missing, damaged or not writable."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from notes import Notes

from facecli.config import DetectionOptions
from facecli.errors import DeviceFull
from facecli.vision.detection.network import LazyNetwork, PlainNetwork, find
from facecli.vision.devices.select import Device
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.optimization import optimized, variants
from facecli.vision.optimization.rewrite_cache import Entry, graph_directory, load_entry, store_entry
from facecli.vision.packs.resolve import ModelPack, find_pack


@pytest.fixture
def pack() -> ModelPack:
    return find_pack(None)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "facecli" / "graphs"


def test_both_networks_are_rewritten_and_kept_for_their_owner_alone(pack: ModelPack, cpu: Device, cache: Path) -> None:
    told = Notes()
    assert isinstance(optimized.open_detector(pack.detector, cpu, told), LazyNetwork)
    session = optimized.open_recogniser(pack.recogniser, cpu, told)
    assert session.input.shape[0] is session.outputs[0].shape[0] is None
    assert told.details == []
    files = list(cache.iterdir())
    assert len(files) == 4
    assert all(f.stat().st_mode & 0o777 == 0o600 for f in files)
    assert cache.stat().st_mode & 0o777 == 0o700


def test_what_is_kept_gives_the_same_faces_without_importing_onnx(pack: ModelPack, cpu: Device, cache: Path) -> None:
    first = optimized.open_detector(pack.detector, cpu, Notes())
    optimized.open_recogniser(pack.recogniser, cpu, Notes())
    blob = np.random.default_rng(0).normal(0, 1, (1, 3, 128, 128)).astype(np.float32)
    again = optimized.open_detector(pack.detector, cpu, Notes())
    one, other = find(first, blob, 1e-4), find(again, blob, 1e-4)
    assert len(one.scores) > 0
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(one.landmarks, other.landmarks)
    script = (
        "import sys; from facecli.vision.models import Needs, Serving, open_served;"
        "from facecli.vision.packs.resolve import find_pack;"
        "from facecli.vision.devices.select import Device; from facecli.config import DetectionOptions;"
        "open_served(find_pack(None), Device('cpu', 'CPUExecutionProvider'), Needs(DetectionOptions()), Serving());"
        "print(*sorted({'onnx', 'insightface', 'scipy', 'skimage'} & set(sys.modules)))"
    )
    own = os.environ | {"XDG_CACHE_HOME": str(cache.parent.parent)}
    assert (
        subprocess.run([sys.executable, "-c", script], check=True, env=own, capture_output=True, text=True).stdout
        == "\n"
    )


@pytest.mark.parametrize("damage", [(1000, b""), (-5, b"12345"), (0, b""), (0, b"x" * 40)])
@pytest.mark.parametrize("of_model", [True, False])
def test_a_damaged_entry_is_made_again(
    damage: tuple[int, bytes], pack: ModelPack, cpu: Device, cache: Path, *, of_model: bool
) -> None:
    optimized.open_detector(pack.detector, cpu, Notes())
    file = next(f for f in cache.iterdir() if (f.suffix == ".onnx") == of_model)
    whole = file.read_bytes()
    file.write_bytes(whole[: damage[0]] + damage[1])
    assert load_entry(file.stem) is None
    assert isinstance(optimized.open_detector(pack.detector, cpu, Notes()), LazyNetwork)
    assert load_entry(file.stem) is not None


def test_without_a_cache_the_rewrites_are_used_all_the_same(
    pack: ModelPack, cpu: Device, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocker = cache.parent.parent / "file"
    blocker.write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocker))
    told = Notes()
    assert isinstance(optimized.open_detector(pack.detector, cpu, told), LazyNetwork)
    assert optimized.open_recogniser(pack.recogniser, cpu, told).outputs[0].shape[0] is None
    assert [d for d in told.details if d.startswith("the cache cannot be written")]


def test_a_rewrite_that_is_not_proved_is_left_aside_and_not_tried_again(
    pack: ModelPack, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(optimized.equivalence, "same_faces", lambda *_: False)
    told = Notes()
    assert isinstance(optimized.open_detector(pack.detector, cpu, told), PlainNetwork)
    assert len(told.details) == 2
    assert all("rewrite not used" in d for d in told.details)
    again = Notes()
    assert isinstance(optimized.open_detector(pack.detector, cpu, again), PlainNetwork)
    assert again.details == []


class Lacking:
    """What onnx is where memory is lacking."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def load_model_from_string(self, _: bytes) -> None:
        raise self.error


LACKS = [
    RuntimeError("Error parsing message with type 'onnx.ModelProto': Arena alloc failed"),
    ImportError("libonnx.so: failed to map segment from shared object"),
    MemoryError(),
]


@pytest.mark.parametrize("error", LACKS, ids=lambda e: type(e).__name__)
def test_a_want_of_memory_is_no_answer_that_is_kept(
    error: Exception, pack: ModelPack, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    from facecli.vision.optimization.rewrites import graph, surgery

    with monkeypatch.context() as patch:
        patch.setattr(graph, "onnx", Lacking(error))
        if isinstance(error, ImportError):
            patch.setitem(sys.modules, surgery.__name__, None)
        told = Notes()
        assert isinstance(optimized.open_detector(pack.detector, cpu, told), PlainNetwork)
        assert len([d for d in told.details if "not rewritten" in d]) == 2
    assert isinstance(optimized.open_detector(pack.detector, cpu, Notes()), LazyNetwork)


def test_a_session_that_lacked_memory_is_no_answer_that_is_kept(
    pack: ModelPack, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(*_: object) -> None:
        raise DeviceFull("the device has not the memory", "cpu", hint="std::bad_alloc")

    with monkeypatch.context() as patch:
        patch.setattr(variants, "open_rewrite", lack)
        told = Notes()
        assert isinstance(optimized.open_detector(pack.detector, cpu, told), PlainNetwork)
        assert all("has not the memory (std::bad_alloc)" in d for d in told.details)
    assert isinstance(optimized.open_detector(pack.detector, cpu, Notes()), LazyNetwork)


def test_a_full_disk_that_cuts_the_optimised_graph_costs_only_that(
    pack: ModelPack, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = variants._optimised
    monkeypatch.setattr(variants, "_optimised", lambda model, device: whole(model, device)[:1000])
    assert isinstance(optimized.open_detector(pack.detector, cpu, Notes()), LazyNetwork)
    assert isinstance(optimized.open_detector(pack.detector, cpu, Notes()), LazyNetwork)


def test_models_work_with_the_originals(pack: ModelPack, cpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(optimized.equivalence, "same_faces", lambda *_: False)
    monkeypatch.setattr(optimized.equivalence, "same_embeddings", lambda *_: False)
    models = open_served(pack, cpu, Needs(DetectionOptions()), Serving())
    crops = np.random.default_rng(0).integers(0, 256, (3, 112, 112, 3), dtype=np.uint8)
    np.testing.assert_allclose(np.linalg.norm(models.embedder.embed(crops), axis=1), 1, atol=1e-5)


def test_an_entry_comes_back_as_it_was() -> None:
    arrays = {"x": np.ones((2, 3), np.float32), "y": np.arange(7, dtype=np.uint8)}
    store_entry("a-b-1", Entry({"rewrite": "r"}, b"old", arrays))
    store_entry("a-c-1", Entry({"rewrite": ""}))
    store_entry("a-b-2", Entry({"rewrite": "s"}, b"new", arrays))
    assert sorted(f.name for f in graph_directory().iterdir()) == ["a-b-2", "a-b-2.onnx", "a-c-1"]
    entry, original = load_entry("a-b-2"), load_entry("a-c-1")
    assert entry is not None
    assert original is not None
    assert not original.model
    assert entry.facts == {"rewrite": "s"}
    assert Path(str(entry.model)).read_bytes() == b"new"
    for name, array in arrays.items():
        np.testing.assert_array_equal(entry.arrays[name], array)
        assert entry.arrays[name].dtype == array.dtype


@pytest.mark.parametrize("facts", [{}, {"finding": "as fast"}])
def test_what_time_decided_is_decided_anew_after_a_while(
    facts: dict[str, str], pack: ModelPack, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = variants.RewriteTarget(pack.recogniser, cpu, Notes())
    now = time.time()
    for age, known in ((0, True), (89, True), (91, False), (-1, False)):
        monkeypatch.setattr(time, "time", lambda age=age: now - age * 86400)
        variants.keep(shop, "recogniser", Entry({"rewrite": ""} | facts))
        monkeypatch.setattr(time, "time", lambda: now)
        assert (variants.recall(shop, "recogniser")[0] is not None) is known


def test_a_rewrite_that_was_proved_stays_whatever_its_age(
    pack: ModelPack, cpu: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 0.0)
        optimized.open_detector(pack.detector, cpu, Notes())
    assert variants.recall(variants.RewriteTarget(pack.detector, cpu, Notes()), "detector")[1] is not None
