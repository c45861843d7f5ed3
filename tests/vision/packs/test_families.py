"""Model files that facecli does not run: each kind gets one correct line, through the same code path as `-m DIR`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from facecli.errors import PackError
from facecli.vision.packs.families import find_foreign
from facecli.vision.packs.known import SCRFD_500M, W600K_MBF
from facecli.vision.packs.resolve import find_pack, wheel_directory

pytestmark = pytest.mark.filterwarnings("ignore:.*:FutureWarning")
Shapes = dict[str, list[int | str]]


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A directory with the default pack's recogniser."""
    place = tmp_path / "pack"
    place.mkdir()
    (place / W600K_MBF.file).symlink_to(os.path.join(wheel_directory(), W600K_MBF.file))
    return place


def put_network(path: Path, takes: Shapes, gives: Shapes, last: str = "Reshape") -> Path:
    """A network with the inputs and outputs of a model family; the layers in between do not matter."""
    shape = helper.make_tensor("shape", TensorProto.INT64, [1], [-1])
    extra = [] if last == "Softmax" else ["shape"]
    nodes = [helper.make_node(last, [next(iter(takes)), *extra], [name]) for name in gives]
    values = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in part.items()] for part in (takes, gives)
    ]
    graph = helper.make_graph(nodes, "made-up", *values, initializer=[shape])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), str(path))
    return path


def picture(height: int | str, width: int | str) -> Shapes:
    return {"input": [1, 3, height, width]}


YUNET = {
    f"{part}_{stride}": [1, (640 // stride) ** 2, n]
    for part, n in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
    for stride in (8, 16, 32)
}
RETINA_MAPS = {
    f"face_rpn_{part}_stride{stride}": [1, n, 640 // stride, 640 // stride]
    for stride in (32, 16, 8)
    for part, n in (("cls_prob_reshape", 4), ("bbox_pred", 8), ("landmark_pred", 20))
}
DETECTORS: dict[str, tuple[Shapes, Shapes, str]] = {
    "YuNet of 2023": (picture(640, 640), YUNET, "a YuNet detector"),
    "YuNet of any size": (
        picture("h", "w"),
        {name: [1, "n", shape[-1]] for name, shape in YUNET.items()},
        "a YuNet detector",
    ),
    "YuNet of 2022": (picture(120, 160), {"loc": [1600, 14], "conf": [1600, 2], "iou": [1600, 1]}, "a YuNet detector"),
    "RetinaFace": (
        picture(320, 320),
        {"output0": [1, 4200, 4], "819": [1, 4200, 2], "818": [1, 4200, 10]},
        "a RetinaFace detector",
    ),
    "RetinaFace of MXNet": (picture(640, 640), RETINA_MAPS, "a RetinaFace detector"),
    "UltraFace": (
        picture(240, 320),
        {"scores": [1, 4420, 2], "boxes": [1, 4420, 4]},
        "an UltraFace or SSD detector, without landmarks",
    ),
    "YOLOv8-face": (picture(640, 640), {"output0": [1, 20, 8400]}, "a YOLO detector"),
    "YOLOv8 of any size": (picture("h", "w"), {"output0": [1, 5, "anchors"]}, "a YOLO detector"),
    "YOLOv5-face": (picture(640, 640), {"output": [1, 25200, 16]}, "a YOLO detector"),
    "YOLO in maps": (
        picture(640, 640),
        {f"o{s}": [1, 3, 640 // s, 640 // s, 16] for s in (8, 16, 32)},
        "a YOLO detector",
    ),
    "BlazeFace": (
        picture(128, 128),
        {"regressors": [1, 896, 16], "classificators": [1, 896, 1]},
        "a BlazeFace detector",
    ),
    "CenterFace": (
        picture(32, 32),
        {n: [10, c, 8, 8] for n, c in (("537", 1), ("538", 2), ("539", 2), ("540", 10))},
        "a heat map detector",
    ),
    "another": (
        picture(300, 300),
        {"boxes": [1, 100, 4], "scores": [1, 100], "labels": [1, 100]},
        "a detector of another family",
    ),
}


@pytest.mark.parametrize(("takes", "gives", "words"), DETECTORS.values(), ids=DETECTORS)
def test_a_detector_of_another_family_is_called_what_it_is(
    takes: Shapes, gives: Shapes, words: str, directory: Path
) -> None:
    path = put_network(directory / "detector.onnx", takes, gives)
    with pytest.raises(PackError, match="cannot run a model") as caught:
        find_pack(str(directory))
    assert caught.value.where == str(path)
    assert caught.value.hint.startswith(f"it is {words}")
    assert caught.value.hint.endswith("facecli runs SCRFD detectors only")


OTHERS: dict[str, tuple[Shapes, Shapes, str, str]] = {
    "a classifier": (picture(224, 224), {"prob": [1, 1000]}, "Softmax", "it is a classifier with 1000 classes"),
    "a classifier of crops": (picture(112, 112), {"prob": ["n", 8]}, "Softmax", "it is a classifier with 8 classes"),
    "gray": ({"x": [1, 1, 64, 64]}, {"y": [1, 8]}, "Reshape", "its input has 1 colour channels"),
    "colours last": ({"x": ["n", 160, 160, 3]}, {"y": ["n", 512]}, "Reshape", "its input has the colour channels last"),
    "no picture": ({"x": [1, 512]}, {"y": [1, 1]}, "Reshape", "its input is not an image"),
    "two inputs": (picture(128, 128) | {"source": [1, 512]}, {"y": [1, 3, 128, 128]}, "Reshape", "it takes 2 inputs"),
    "a picture": (picture(512, 512), {"y": [1, 3, 512, 512]}, "Reshape", "its output is an image or a map"),
}


@pytest.mark.parametrize(("takes", "gives", "last", "words"), OTHERS.values(), ids=OTHERS)
def test_a_network_for_something_else_is_called_what_it_is(
    takes: Shapes, gives: Shapes, last: str, words: str, directory: Path
) -> None:
    put_network(directory / "other.onnx", takes, gives, last)
    with pytest.raises(PackError, match="no detector") as caught:
        find_pack(str(directory))
    assert f"other.onnx: {words}" in caught.value.hint
    assert "w600k_mbf.onnx: it is a recogniser" in caught.value.hint


@pytest.mark.parametrize("side", [160, 224, "side"])
def test_a_recogniser_for_other_crops_or_a_classifier_is_not_taken_for_sure_for_either(
    side: int | str, tmp_path: Path
) -> None:
    found = find_foreign(str(put_network(tmp_path / "x.onnx", picture(side, side), {"y": ["n", 512]})))
    assert found is not None
    assert "512 numbers for an image of " + ("any size" if side == "side" else f"{side}x{side} pixels") in found.words
    assert "112x112" in found.words


CONTENTS = {
    b"": "it is empty",
    b"version https://git-lfs.github.com/spec/v1\n": "a Git LFS pointer",
    b"PK\x03\x04rest": "a ZIP archive",
    b"\x80\x02}q\x00": "a pickle",
    b"<!DOCTYPE html>": "a web page",
    b"\x1c\x00\x00\x00TFL3": "a TensorFlow Lite file",
    b"\x89HDF\r\n\x1a\n": "a Keras file",
    b"\x00\x01\x02 anything": "not an ONNX file, or it is truncated",
}


@pytest.mark.parametrize(("content", "words"), CONTENTS.items(), ids=CONTENTS.values())
def test_a_file_that_is_no_onnx_is_called_what_it_is(content: bytes, words: str, directory: Path) -> None:
    (directory / "detector.onnx").write_bytes(content)
    with pytest.raises(PackError, match="no detector") as caught:
        find_pack(str(directory))
    assert f"detector.onnx: {'' if words.startswith('it') else 'it is '}{words}" in caught.value.hint


@pytest.mark.parametrize("share", [0.3, 0.5, 0.999])
def test_a_model_that_is_cut_off_is_called_so(share: float, directory: Path) -> None:
    data = Path(wheel_directory(), SCRFD_500M.file).read_bytes()
    (directory / "cut.onnx").write_bytes(data[: int(share * len(data))])
    with pytest.raises(PackError, match="no detector") as caught:
        find_pack(str(directory))
    assert "cut.onnx: it is not an ONNX file, or it is truncated or damaged" in caught.value.hint


def test_a_model_with_its_weights_elsewhere_is_refused_since_its_hash_would_not_cover_them(directory: Path) -> None:
    model = onnx.load(os.path.join(wheel_directory(), SCRFD_500M.file))
    onnx.save(model, str(directory / "apart.onnx"), save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(PackError, match="no detector") as caught:
        find_pack(str(directory))
    assert "apart.onnx: it keeps its weights in another file" in caught.value.hint


def test_what_cannot_be_run_does_not_stand_in_the_way_of_what_can(directory: Path) -> None:
    put_network(directory / "yunet.onnx", picture(640, 640), dict(YUNET))
    shutil.copyfile(os.path.join(wheel_directory(), SCRFD_500M.file), directory / SCRFD_500M.file)
    assert find_pack(str(directory)).detector.sha256 == SCRFD_500M.sha256


def test_a_directory_without_onnx_files_is_told_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "yolo.pt").touch()
    with pytest.raises(PackError, match="no detector") as caught:
        find_pack(str(tmp_path))
    assert caught.value.hint == "yolo.pt: facecli reads only ONNX files (.onnx)"


def test_a_file_in_place_of_a_directory_is_told_so(directory: Path) -> None:
    with pytest.raises(PackError, match="a model pack is a directory") as caught:
        find_pack(str(directory / W600K_MBF.file))
    assert caught.value.hint.startswith("-m DIR")


@pytest.mark.parametrize("name", ["2d106det.onnx", "scrfd_nms.onnx", "face_aligner.onnx"])
def test_parts_of_insightface_for_other_tasks_are_no_detector(name: str, directory: Path) -> None:
    (directory / name).write_bytes(Path(wheel_directory(), name).read_bytes() + b"2\x05other")
    with pytest.raises(PackError, match="no detector") as caught:
        find_pack(str(directory))
    assert f"{name}: it " in caught.value.hint


def test_published_models_are_foreign_to_none() -> None:
    for known in (SCRFD_500M, W600K_MBF):
        assert find_foreign(os.path.join(wheel_directory(), known.file)) is None
