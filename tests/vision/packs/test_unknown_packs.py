"""Packs that facecli does not know: InsightFace identifies them once, and the user must have named them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from facecli import find_faces
from facecli.errors import PackError
from facecli.vision.packs import inspection
from facecli.vision.packs.known import SCRFD_500M, W600K_MBF
from facecli.vision.packs.resolve import find_pack, find_recorded_pack, wheel_directory

DOCUMENTED = b"2\x05other"
"""A model's doc_string in protobuf: another file, the same network."""

pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning")


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The default pack's files, the recogniser with another hash."""
    place = tmp_path / "other-pack"
    place.mkdir()
    shutil.copyfile(os.path.join(wheel_directory(), SCRFD_500M.file), place / SCRFD_500M.file)
    data = Path(wheel_directory(), W600K_MBF.file).read_bytes()
    (place / W600K_MBF.file).write_bytes(data + DOCUMENTED)
    return place


def tiny_recogniser(path: Path, side: int = 112, kind: int = TensorProto.FLOAT) -> Path:
    """A network of three nodes that has a recogniser's shape: (1, 3, side, side) to (1, 3)."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["f"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    x, y = (
        helper.make_tensor_value_info("x", kind, [1, 3, side, side]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3]),
    )
    graph = helper.make_graph(nodes, "tiny", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def test_unknown_files_are_accepted_and_named_by_their_directory(directory: Path) -> None:
    pack = find_pack(str(directory))
    assert (pack.name, pack.known, pack.licence, pack.dimension) == (str(directory), False, "unknown", 512)
    assert pack.recogniser.sha256 == hashlib.sha256((directory / W600K_MBF.file).read_bytes()).hexdigest()
    assert (pack.recogniser.mean, pack.recogniser.scale, pack.recogniser.input_size) == (127.5, 127.5, 112)
    assert pack.detector.sha256 == SCRFD_500M.sha256


def test_insightface_reads_an_unknown_detector_as_the_published_one(directory: Path) -> None:
    path = directory / SCRFD_500M.file
    path.write_bytes(path.read_bytes() + DOCUMENTED)
    detector = find_pack(str(directory)).detector
    assert (detector.mean, detector.scale, detector.input_size) == (127.5, 128.0, None)


def test_insightface_is_asked_once(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = find_pack(str(directory))
    monkeypatch.setattr(inspection, "_import_insightface", None)
    assert find_pack(str(directory)) == first


def test_an_answer_of_another_version_or_a_damaged_one_is_asked_again(directory: Path, tmp_path: Path) -> None:
    first = find_pack(str(directory))
    record = tmp_path / "cache/facecli/models.json"
    kept = json.loads(record.read_text())
    for damage in ({"version": 0}, {"role": "cook"}, {"surprise": 1}):
        record.write_text(json.dumps({k: v | damage for k, v in kept.items()}))
        assert find_pack(str(directory)) == first


def test_an_index_cannot_bring_models_that_were_never_named(directory: Path) -> None:
    unknown = hashlib.sha256((directory / W600K_MBF.file).read_bytes()).hexdigest()
    recorded = ("mine", str(directory), SCRFD_500M.sha256, unknown)
    with pytest.raises(PackError, match="not named on this machine") as caught:
        find_recorded_pack(*recorded)
    assert "-m DIR" in caught.value.hint
    named = find_pack(str(directory))
    assert find_recorded_pack(*recorded).recogniser == named.recogniser
    shutil.rmtree(directory)
    with pytest.raises(PackError, match="not on this machine"):
        find_recorded_pack(*recorded)


def test_a_recorded_directory_with_other_content_is_not_used(directory: Path) -> None:
    pack = find_pack(str(directory))
    path = directory / W600K_MBF.file
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(PackError, match="not on this machine"):
        find_recorded_pack("mine", str(directory), pack.detector.sha256, pack.recogniser.sha256)


def test_a_directory_needs_both_roles(directory: Path) -> None:
    (directory / SCRFD_500M.file).unlink()
    with pytest.raises(PackError, match="no detector"):
        find_pack(str(directory))


def test_a_directory_with_two_recognisers_is_refused_with_their_names(directory: Path) -> None:
    tiny_recogniser(directory / "second.onnx")
    with pytest.raises(PackError, match=r"2 recognisers.*second\.onnx, w600k_mbf\.onnx"):
        find_pack(str(directory))


def test_a_broken_file_under_a_published_name_is_named_with_both_hashes(directory: Path) -> None:
    path = directory / W600K_MBF.file
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(PackError, match="no recogniser") as caught:
        find_pack(str(directory))
    assert W600K_MBF.file in caught.value.hint
    assert W600K_MBF.sha256 in caught.value.hint
    assert hashlib.sha256(path.read_bytes()).hexdigest() in caught.value.hint


def test_a_detector_without_landmarks_is_refused(directory: Path) -> None:
    model = onnx.load(str(directory / SCRFD_500M.file))
    del model.graph.output[6:]
    onnx.save(model, str(directory / SCRFD_500M.file))
    with pytest.raises(PackError, match="cannot run") as caught:
        find_pack(str(directory))
    assert "without the five landmarks" in caught.value.hint


@pytest.mark.parametrize(
    ("make", "why"),
    [(lambda p: tiny_recogniser(p, 128), "128x128"), (lambda p: tiny_recogniser(p, 112, TensorProto.UINT8), "uint8")],
)
def test_a_recogniser_that_cannot_be_run_right_is_refused(
    directory: Path, make: Callable[[Path], Path], why: str
) -> None:
    make(directory / W600K_MBF.file)
    with pytest.raises(PackError, match="cannot run") as caught:
        find_pack(str(directory))
    assert why in caught.value.hint
    assert caught.value.where == str(directory / W600K_MBF.file)


def test_a_recogniser_whose_answer_is_none_gives_an_error(directory: Path, find_sample: Callable[[str], Path]) -> None:
    path = tiny_recogniser(directory / W600K_MBF.file)
    model = onnx.load(path)
    model.graph.node[0].op_type = "Sub"
    del model.graph.node[0].attribute[:]
    model.graph.node[0].input.append("x")
    onnx.save(model, path)
    with pytest.raises(PackError, match="gives no embedding of a face"):
        find_faces(find_sample("yaoming.jpg"), model=directory)


def put_manifest(directory: Path, recogniser: str, preprocessing: object) -> None:
    """Describe the directory's models in a manifest like those of InsightFace's packs."""
    tasks = {
        "detection": {"file": SCRFD_500M.file, "preprocessing": {"mean": 127.5, "std": 128.0}},
        "recognition": {"file": recogniser, "preprocessing": preprocessing, "embedding_dimension": 3},
    }
    (directory / "MODEL.LICENSE").write_text("a licence")
    record = {"manifest_version": 2, "model_id": "mine", "tasks": tasks, "license": "MODEL.LICENSE"}
    (directory / "manifest.json").write_text(json.dumps(record))


def test_a_manifest_decides_the_preprocessing(directory: Path) -> None:
    tiny_recogniser(directory / "mine.onnx")
    put_manifest(directory, "mine.onnx", {"mean": 100.0, "std": 50.0})
    pack = find_pack(str(directory))
    assert os.path.basename(pack.recogniser.path) == "mine.onnx"
    assert (pack.recogniser.mean, pack.recogniser.scale, pack.dimension) == (100.0, 50.0, 3)


def test_a_manifest_whose_model_takes_bytes_is_refused_by_name(directory: Path) -> None:
    tiny_recogniser(directory / "mine.onnx", kind=TensorProto.UINT8)
    put_manifest(directory, "mine.onnx", "embedded")
    with pytest.raises(PackError, match="cannot run") as caught:
        find_pack(str(directory))
    assert caught.value.where == str(directory / "mine.onnx")


def test_a_manifest_that_is_not_sound_is_named(directory: Path) -> None:
    put_manifest(directory, "../elsewhere.onnx", "embedded")
    with pytest.raises(PackError, match="manifest is not valid"):
        find_pack(str(directory))


@pytest.mark.parametrize("kind", ["pipe", "device", "nest", "large"])
def test_what_is_no_manifest_is_passed_over(directory: Path, kind: str) -> None:
    manifest = directory / "manifest.json"
    if kind == "pipe":
        os.mkfifo(manifest)
    elif kind == "device":
        manifest.symlink_to("/dev/zero")
    else:
        manifest.write_text("[" * 100_000 if kind == "nest" else f'{{"manifest_version": 2}}{" " * (2 << 20)}')
    assert find_pack(str(directory)).recogniser.path == str(directory / W600K_MBF.file)
