"""Identify model files that facecli does not run, by their first bytes and the names and shapes of inputs and outputs.

The network is not run.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from facecli.vision.packs.known import Role

HEAD_BYTES = 64
CROP_SIDE = 112
NEEDED = "facecli runs SCRFD detectors only"
STARTS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the model itself: `git lfs pull` downloads it"),
    (b"PK\x03\x04", "a ZIP archive, like PyTorch's .pt and .pth files, not ONNX"),
    (b"\x80\x02", "a pickle, like older PyTorch files, not ONNX"),
    (b"\x89HDF", "a Keras file, not ONNX"),
    (b"\x1f\x8b", "a compressed file: unpack it first"),
    (b"<", "a web page or XML, maybe of a failed download, not ONNX"),
    (b"ftrt", "a TensorRT engine, not ONNX"),
)
STARTS_AT_4 = (
    (b"TFL3", "a TensorFlow Lite file, not ONNX"),
    (b"ORTM", "in ONNX Runtime's own format, not ONNX"),
)
AxisSizes = tuple[int | None, ...]


class Foreign(Struct, frozen=True):
    """A file that facecli does not run."""

    role: Role
    words: str
    """The reason, as a clause that begins with `it is`, `it takes` and the like."""


class ModelForm(Struct, frozen=True):
    """Shapes of a network's inputs and outputs; None for a dynamic length."""

    inputs: tuple[AxisSizes, ...]
    outputs: dict[str, AxisSizes]
    ends: frozenset[str]
    """The operators of the nodes that compute the outputs."""

    @property
    def lasts(self) -> list[int | None]:
        """The length of each output's last axis."""
        return [shape[-1] if shape else None for shape in self.outputs.values()]

    @property
    def size(self) -> str:
        """Width and height of the input image, for messages."""
        height, width = self.inputs[0][2:4]
        return f"{width}x{height} pixels" if width and height else "any size"


def find_foreign(path: str) -> Foreign | None:
    """Identify a file that facecli certainly does not run; None if InsightFace has to inspect it. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    words = _start(head)
    if words:
        return Foreign(Role.OTHER, words)
    onnx = importlib.import_module("onnx")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # noqa: BLE001 (protobuf's exceptions have no common base but Exception)
        return Foreign(Role.OTHER, "it is not an ONNX file, or it is truncated or damaged")
    if not model.graph.node or not model.graph.output:
        return Foreign(Role.OTHER, "it is not an ONNX file, or it is truncated or damaged")
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        return Foreign(
            Role.OTHER,
            "it keeps its weights in another file, and facecli reads models in one file only: save it as one file",
        )
    return judge_model(_form(model.graph))


def judge_model(form: ModelForm) -> Foreign | None:
    """Identify a network by its inputs and outputs; None if it may be an SCRFD detector or a recogniser."""
    if len(form.inputs) != 1:
        return Foreign(
            Role.OTHER, f"it takes {len(form.inputs)} inputs, but a face detector or recogniser takes one image"
        )
    [shape] = form.inputs
    if len(shape) != 4:
        return Foreign(Role.OTHER, "its input is not an image")
    if shape[1] not in (3, None):
        order = (
            "its input has the colour channels last, as in TensorFlow; facecli puts them first"
            if shape[3] == 3
            else f"its input has {shape[1]} colour channels"
        )
        return Foreign(Role.OTHER, order)
    family = next((name for name, fits in FAMILIES if fits(form)), None)
    if family is not None:
        return Foreign(Role.DETECTOR, f"it is {family}; {NEEDED}")
    if _is_scrfd(form):
        return None
    return (
        _judge_other(form)
        if len(form.outputs) == 1
        else Foreign(Role.OTHER, f"it has {len(form.outputs)} outputs, which fit no model that facecli runs")
    )


def _judge_other(form: ModelForm) -> Foreign | None:
    """Identify a network with one output."""
    [given] = form.outputs.values()
    height, width = form.inputs[0][2:4]
    count = math.prod(given[1:]) if all(given[1:]) else None  # type: ignore[arg-type]
    if form.ends & {"Softmax", "LogSoftmax", "ArgMax"}:
        return Foreign(Role.OTHER, f"it is a classifier{f' with {count} classes' if count else ''}")
    if len(given) == 4 and all(length != 1 for length in given[2:]):
        return Foreign(Role.OTHER, "its output is an image or a map")
    if (height, width) in ((96, 96), (192, 192)):
        return None  # InsightFace's landmark and attribute models
    if (height, width) != (CROP_SIDE, CROP_SIDE):
        what = (
            f"it gives {count or 'some'} numbers for an image of {form.size}, like a classifier or another recogniser"
        )
        return Foreign(Role.RECOGNISER, f"{what}; facecli runs recognisers for {CROP_SIDE}x{CROP_SIDE} pixels")
    return None


def _is_scrfd(form: ModelForm) -> bool:
    """Whether the outputs may be the scores, boxes and perhaps landmarks of three or five strides."""
    parts = {6: (1, 4), 9: (1, 4, 10), 10: (1, 4), 15: (1, 4, 10)}.get(len(form.outputs))
    if parts is None or any(len(shape) > 3 for shape in form.outputs.values()):
        return False
    expected = [part for part in parts for _ in range(len(form.outputs) // len(parts))]
    return all(last in (None, wanted) for last, wanted in zip(form.lasts, expected, strict=True))


def _names(*wanted: str) -> Callable[[ModelForm], bool]:
    return lambda form: {*wanted} <= {name.lower() for name in form.outputs}


def _gives(*lasts: int) -> Callable[[ModelForm], bool]:
    """Matches outputs with these lengths of the last axis, in any order."""
    return lambda form: (
        sorted(last or 0 for last in form.lasts) == sorted(lasts)
        and all(len(shape) <= 3 for shape in form.outputs.values())
    )


def _is_yolo(form: ModelForm) -> bool:
    """Whether the output is one table with thousands of positions, or one map with separate anchors per stride."""
    shapes = list(form.outputs.values())
    if len(shapes) > 1 or not shapes[0]:
        return len(shapes) == 3 and all(len(shape) == 5 for shape in shapes)
    sizes = sorted(length or 1_000_000 for length in shapes[0][1:])
    return len(shapes[0]) == 3 and sizes[0] >= 5 and sizes[1] >= 100


FAMILIES: tuple[tuple[str, Callable[[ModelForm], bool]], ...] = (
    ("a YuNet detector", _names("cls_8", "obj_8", "kps_8")),
    ("a YuNet detector", _names("loc", "conf", "iou")),
    ("a YuNet detector", _gives(14, 2, 1)),
    ("a RetinaFace detector", lambda form: any(name.lower().startswith("face_rpn_") for name in form.outputs)),
    ("a RetinaFace detector", _gives(4, 2, 10)),
    ("an UltraFace or SSD detector, without landmarks", _gives(4, 2)),
    ("a BlazeFace detector", lambda form: form.lasts[:1] != [None] and set(form.lasts) == {16, 1}),
    ("a YOLO detector", _is_yolo),
    (
        "a heat map detector, like CenterFace",
        lambda form: len(form.outputs) == 4 and all(len(s) == 4 for s in form.outputs.values()),
    ),
    ("a detector of another family", lambda form: len(form.outputs) > 1 and 4 in form.lasts and not _is_scrfd(form)),
)
"""Detectors other than SCRFD, by their outputs; the first match counts."""


def _start(head: bytes) -> str:
    """The format that a file's first bytes show; empty if it may be ONNX."""
    if not head:
        return "it is empty"
    for offset, starts in ((0, STARTS), (4, STARTS_AT_4)):
        for start, words in starts:
            if head.startswith(start, offset):
                return f"it is {words}"
    return ""


def _form(graph: Any) -> ModelForm:
    weights = {tensor.name for tensor in graph.initializer}
    outputs = {value.name: _shape(value) for value in graph.output}
    ends = frozenset(node.op_type for node in graph.node if not outputs.keys().isdisjoint(node.output))
    return ModelForm(tuple(_shape(value) for value in graph.input if value.name not in weights), outputs, ends)


def _shape(value: Any) -> AxisSizes:
    return tuple(length.dim_value or None for length in value.type.tensor_type.shape.dim)
