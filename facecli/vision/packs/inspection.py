"""Inspect models that facecli does not know: InsightFace identifies each once, and the answer is cached by file hash.

This is the only module that imports insightface. `FaceAnalysis` is not used, because it downloads missing packs.
"""

from __future__ import annotations

import importlib
import json
import os
import warnings
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from facecli.cache import add_to_record, read_record
from facecli.errors import DeviceFull, PackError
from facecli.onnx_loading import load_onnxruntime
from facecli.system import is_lack
from facecli.vision.packs.families import CROP_SIDE, find_foreign
from facecli.vision.packs.hashes import file_sha256
from facecli.vision.packs.known import MODELS, OTHERS, Role

RECORD = "models"
VERSION = 2
"""Increase when answers change, so that cached ones become invalid."""
MANIFEST = "manifest.json"
MOST_BYTES = 1 << 20
"""The largest manifest that is read."""

OTHER_TASKS = {
    "Landmark": "it finds landmarks in a face that is already detected",
    "Attribute": "it estimates attributes of a face, such as age",
}


class ModelReading(Struct, frozen=True):
    """Role of a model file, and its preprocessing: (pixel - mean) / scale, RGB."""

    role: Role
    mean: float = 0.0
    scale: float = 1.0
    input_size: int | None = None
    """Side in pixels of the only square input that it takes; None if it takes any."""
    dimension: int = 0
    refusal: str = ""
    """Why facecli cannot run it; empty if it can."""


def recall_reading(sha256: str) -> ModelReading | None:
    """What is known of a file's content without inspection; None if nothing.

    Known are published models, and those that this user has named before.
    """
    known = MODELS.get(sha256)
    if known is not None:
        size = CROP_SIDE if known.role is Role.RECOGNISER else None
        return ModelReading(known.role, known.mean, known.scale, size, known.dimension)
    if sha256 in OTHERS:
        return ModelReading(Role.OTHER, refusal="it is an InsightFace model for another task")
    entry = read_record(RECORD).get(sha256)
    if not isinstance(entry, dict) or entry.get("version") != VERSION:
        return None
    try:
        values = {k: v for k, v in entry.items() if k != "version"}
        return ModelReading(**(values | {"role": Role(values["role"])}))
    except (KeyError, TypeError, ValueError):
        return None


def read_model(path: str, sha256: str) -> ModelReading:
    """Identify the file at `path`, with InsightFace if it is not known yet."""
    return recall_reading(sha256) or _inspect(
        path, sha256, lambda zoo: zoo.get_model(path, providers=["CPUExecutionProvider"])
    )


def has_manifest(directory: str) -> bool:
    """Whether the directory has an InsightFace manifest of version 2."""
    path = os.path.join(directory, MANIFEST)
    try:
        if not os.path.isfile(path) or os.path.getsize(path) > MOST_BYTES:  # a pipe or a device may never end
            return False
        with open(path, encoding="utf-8") as file:
            return bool(json.load(file).get("manifest_version") == 2)
    except (OSError, ValueError, AttributeError, RecursionError):
        return False


def read_manifest(directory: str) -> dict[str, ModelReading]:
    """Identify each model file of a directory with a manifest, by path; raises PackError if it is not valid."""
    try:
        package = _import_insightface("insightface.model_zoo.package_manifest").load_model_package(directory)
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise PackError(f"a model pack's manifest is not valid ({error})", os.path.join(directory, MANIFEST)) from error
    found = {}
    for task in (t for t in ("detection", "recognition") if t in package.tasks):
        descriptor = package.tasks[task]
        sha256 = file_sha256(str(descriptor.path))
        # A cached answer for an unknown file does not apply: this manifest may declare another preprocessing.
        known = recall_reading(sha256) if sha256 in MODELS else None
        found[str(descriptor.path)] = known or _inspect(str(descriptor.path), sha256, _manifest_loader(descriptor))
    return found


def _manifest_loader(descriptor: Any) -> Callable[[Any], Any]:
    return lambda zoo: zoo.get_model(
        str(descriptor.path), model_descriptor=descriptor, providers=["CPUExecutionProvider"]
    )


def _inspect(path: str, sha256: str, load: Callable[[Any], Any]) -> ModelReading:
    """Inspect the file, then ask InsightFace if it may be one of its detectors or recognisers.

    InsightFace itself takes any file for one of its models.
    """
    try:
        foreign = find_foreign(path)
    except OSError as error:
        raise PackError(f"a model cannot be read ({error.strerror})", path) from error
    return _ask(sha256, load) if foreign is None else ModelReading(foreign.role, refusal=foreign.words)


def _ask(sha256: str, load: Callable[[Any], Any]) -> ModelReading:
    """Load the model with InsightFace, and cache the result."""
    zoo = _import_insightface("insightface.model_zoo.model_zoo")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # warnings about the model; InsightFace decides whether it is usable
            reading = _read_loaded(load(zoo))
    except Exception as error:  # a broken model file can raise any exception
        if is_lack(error):
            raise DeviceFull("not enough memory to look at a model") from error
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return ModelReading(Role.OTHER, refusal=f"ONNX Runtime cannot open it ({first[:200]})")
    add_to_record(RECORD, {sha256: asdict(reading) | {"version": VERSION}})
    return reading


def _read_loaded(model: Any) -> ModelReading:
    """Read role and preprocessing from an object that InsightFace's `get_model` returned."""
    kind = type(model).__name__
    if kind == "SCRFD":
        size = model.static_input_size
        return ModelReading(
            Role.DETECTOR,
            float(model.input_mean),
            float(model.input_std),
            size[0] if size else None,
            0,
            _detector_refusal(model),
        )
    if kind == "ArcFaceONNX":
        return ModelReading(
            Role.RECOGNISER,
            float(model.input_mean),
            float(model.input_std),
            CROP_SIDE,
            _dimension(model),
            _type_refusal(model),
        )
    return ModelReading(
        Role.OTHER, refusal=OTHER_TASKS.get(kind, "it is neither a face detector nor a face recogniser")
    )


def _detector_refusal(model: Any) -> str:
    size = model.static_input_size
    if not model.use_kps:
        return "it is a detector without the five landmarks that alignment needs"
    if len(model.output_names) not in (9, 15):
        return f"it is a detector with {len(model.output_names)} outputs, where SCRFD has 9 or 15"
    if size and size[0] != size[1]:
        return f"it is a detector for {size[0]}x{size[1]} pixels, and facecli runs square inputs only"
    return _type_refusal(model)


def _type_refusal(model: Any) -> str:
    kind = model.session.get_inputs()[0].type
    return (
        "" if kind == "tensor(float)" else f"it takes {kind} with its own preprocessing, which facecli does not support"
    )


def _dimension(model: Any) -> int:
    """Length of the embedding: as declared, else measured."""
    declared = model.output_shape[-1]
    if isinstance(declared, int) and declared > 0:
        return declared
    numpy = importlib.import_module("numpy")
    kind = numpy.uint8 if "uint8" in model.session.get_inputs()[0].type else numpy.float32
    return int(
        model.session.run(None, {model.input_name: numpy.zeros((1, 3, CROP_SIDE, CROP_SIDE), kind)})[0].shape[-1]
    )


def _import_insightface(module: str) -> Any:
    """Import a module of insightface, without its libraries' messages about versions and deprecations."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    load_onnxruntime()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of scikit-image and others at import
        try:
            return importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise PackError(
                "a library is missing", error.name or "insightface", hint="pip install 'insightface>=2.1'"
            ) from error
