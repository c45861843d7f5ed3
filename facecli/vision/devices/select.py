"""Find devices by name, or explain why a requested device is not available."""

from __future__ import annotations

import importlib.util
import json
import shlex

from msgspec import Struct

from facecli.cache import cache_folder
from facecli.config import whole_number
from facecli.errors import DeviceError, quoted
from facecli.installation import installed, pip, runtime_conflict
from facecli.onnx_loading import load_onnxruntime
from facecli.vision.devices.benchmark import choose_device
from facecli.vision.runtime.cuda import CudaDriver, read_driver
from facecli.vision.runtime.providers import (
    CPU,
    OPENVINO,
    PLUG_IN,
    TINY_MODEL,
    Device,
    built_in_providers,
    installed_plug_ins,
    open_inference,
    plugged_devices,
    preload_cuda,
    register_plug_in,
)

__all__ = ["CPU", "Device", "HardwareMissing", "find_devices", "present_kinds"]

MOST_DEVICES = 1023
EXACT_OPENVINO = json.dumps({kind: {"INFERENCE_PRECISION_HINT": "f32"} for kind in ("CPU", "GPU")})
"""Without this, OpenVINO computes in bfloat16 on processors that support it: cosine 0.999 instead of 1.0."""

EXACT_CUDA = (("use_tf32", "0"), ("cudnn_conv_algo_search", "HEURISTIC"), ("arena_extend_strategy", "kSameAsRequested"))
"""Exact, predictable and economical settings of the CUDA provider. TF32 would round to 10 bits. HEURISTIC: cuDNN
selects algorithms by its knowledge of the GPU; the default, trying all of them, takes seconds for each of some twenty
shapes and may choose differently from run to run. kSameAsRequested: memory grows by the requested size instead of
doubling, so that more fits on a small GPU."""


class HardwareMissing(DeviceError):
    """The software for a device is installed, but the machine has no such device."""


class Kind(Struct, frozen=True):
    """A kind of device, and the package that provides it."""

    name: str
    provider: str
    package: str
    """The package whose ONNX Runtime build has the provider; a plug-in package onnxruntime-ep-NAME works as well."""
    options: tuple[tuple[str, str], ...] = ()
    numbered: bool = False
    """Whether the provider accepts a device_id."""


CUDA_PACKAGE = "onnxruntime-gpu[cuda,cudnn]"
KINDS = (
    Kind("cuda", "CUDAExecutionProvider", CUDA_PACKAGE, EXACT_CUDA, numbered=True),
    Kind("tensorrt", "TensorrtExecutionProvider", CUDA_PACKAGE, numbered=True),
    Kind("migraphx", "MIGraphXExecutionProvider", "onnxruntime-migraphx", numbered=True),
    Kind("coreml", "CoreMLExecutionProvider", "onnxruntime"),
    Kind(OPENVINO, "OpenVINOExecutionProvider", "onnxruntime-ep-openvino", (("load_config", EXACT_OPENVINO),)),
)
"""Kinds of device with a name in facecli, besides cpu; other plug-ins are named like their package, without
onnxruntime-ep-."""
SLOW_TO_START = ("tensorrt",)
"""Devices that `auto` never tries: TensorRT first builds an engine for minutes."""


def find_devices(named: str) -> tuple[Device, ...]:
    """The devices of a name: auto, cpu, cuda (all GPUs), cuda:0,1, or the name of a plug-in.

    `cpu:0,1` gives the CPU twice, as if it were two devices. Raises DeviceError with the reason and a hint if a
    requested device is not available; facecli never falls back to another device.
    """
    kind, numbers = _split(named)
    if kind == "auto":
        return _choose_devices()
    if kind == "cpu":
        return tuple(Device(f"cpu:{n}", CPU) for n in numbers) if numbers else (Device("cpu", CPU),)
    devices = _devices_of(kind, numbers)
    for device in devices:
        _prove(device)
    return devices


def present_kinds() -> list[str]:
    """The kinds of device whose provider is installed, except the CPU; whether they work is not checked."""
    built_in = built_in_providers()
    kinds = [kind.name for kind in KINDS if kind.provider in built_in]
    return list(dict.fromkeys([*kinds, *installed_plug_ins()]))


def _split(named: str) -> tuple[str, list[int]]:
    """Split a device's name into its kind and its numbers."""
    kind, colon, numbers = named.strip().lower().partition(":")
    chosen = [whole_number(part, MOST_DEVICES) for part in numbers.split(",")] if colon else []
    if not kind or None in chosen or (kind == "auto" and chosen):
        raise DeviceError("a device's name looks like cpu, cuda or cuda:0,1", quoted(named))
    return kind, [number for number in dict.fromkeys(chosen) if number is not None]


def _choose_devices() -> tuple[Device, ...]:
    """The fastest device with the same results as the CPU; the CPU at once if no other provider is installed."""
    kinds = [kind for kind in present_kinds() if kind not in SLOW_TO_START]
    if not kinds:
        return (Device("cpu", CPU),)
    found: dict[str, tuple[Device, ...]] = {}
    for kind in kinds:
        try:
            devices = _devices_of(kind, [])
        except DeviceError:
            continue  # installed, but not available; the user did not request it
        if devices[0].provider != CPU:
            found[kind] = devices
    best = choose_device([devices[0] for devices in found.values()])
    return found.get(best.kind, (best,))


def _devices_of(name: str, numbers: list[int]) -> tuple[Device, ...]:
    """The devices of a kind with these numbers; without numbers all devices if numbered, else the first."""
    kind = next((k for k in KINDS if k.name == name), None)
    plug_in = installed_plug_ins().get(name)
    # Check plug-ins first: once registered, they are listed among the built-in providers as well.
    if plug_in is not None:
        return _plugged(Kind(name, register_plug_in(plug_in), plug_in, kind.options if kind else ()), numbers)
    if kind is None:
        here = ", ".join(["auto", "cpu", *present_kinds()])
        known = ", ".join(k.name for k in KINDS)
        raise DeviceError(
            "there is no such device",
            name,
            hint=f"here: {here}; with their packages also {known}, and any {PLUG_IN}NAME by NAME",
        )
    if kind.provider in built_in_providers():
        return _built_in(kind, numbers)
    raise _not_installed(kind)


def _built_in(kind: Kind, numbers: list[int]) -> tuple[Device, ...]:
    if kind.name in ("cuda", "tensorrt"):
        driver = read_driver()
        if driver.trouble:
            raise HardwareMissing(f"device {kind.name} cannot be used", driver.trouble, hint=_driver_hint(driver))
        _check_numbers(kind.name, numbers, driver.gpus)
        numbers = numbers or list(range(driver.gpus))
    if not kind.numbered:
        _check_numbers(kind.name, numbers, 1)
        return (Device(kind.name, kind.provider, kind.options),)
    options = (*kind.options, *(_engine_cache() if kind.name == "tensorrt" else ()))
    return tuple(Device(f"{kind.name}:{n}", kind.provider, (*options, ("device_id", str(n)))) for n in numbers or [0])


def _engine_cache() -> tuple[tuple[str, str], ...]:
    """Options that cache TensorRT's engines and timings, since compiling takes minutes; empty without a cache."""
    path = cache_folder("tensorrt")  # TensorRT would create the directory readable for everyone
    if path is None:
        return ()
    kinds = ("engine", "timing")
    return tuple(
        pair for kind in kinds for pair in ((f"trt_{kind}_cache_enable", "1"), (f"trt_{kind}_cache_path", str(path)))
    )


def _plugged(kind: Kind, numbers: list[int]) -> tuple[Device, ...]:
    count = len(plugged_devices(kind.provider))
    if not count:
        if kind.name == OPENVINO and importlib.util.find_spec(OPENVINO) is not None:
            # The plug-in supports Intel processors only. OpenVINO itself supports all processors, and then runs only
            # the recogniser.
            _check_numbers(kind.name, numbers, 1)
            return (Device(OPENVINO, CPU),)
        raise HardwareMissing(
            f"device {kind.name} cannot be used", f"{kind.package} is installed and finds no hardware that it can use"
        )
    _check_numbers(kind.name, numbers, count)
    names = [f"{kind.name}:{n}" for n in numbers] or [kind.name]
    return tuple(Device(name, kind.provider, kind.options) for name in names)


def _check_numbers(name: str, numbers: list[int], count: int) -> None:
    for number in numbers:
        if number >= count:
            last = f", {name}:0" if count == 1 else f", {name}:0 to {name}:{count - 1}"
            raise DeviceError(
                "there is no such device",
                f"{name}:{number}",
                hint=f"there {'is' if count == 1 else 'are'} {count}{last}",
            )


def _prove(device: Device) -> None:
    """Check that the device works by opening a tiny network; raises DeviceError with a hint."""
    missing = preload_cuda() if device.kind in ("cuda", "tensorrt") else ""
    try:
        open_inference(TINY_MODEL, device)
    except DeviceError as error:
        if device.kind in ("cuda", "tensorrt"):
            raise DeviceError(error.what, missing or error.where, hint=_cuda_hint(read_driver())) from error
        raise DeviceError(error.what, error.where, hint=error.hint or "`facecli doctor` tests every device") from error


def _not_installed(kind: Kind) -> DeviceError:
    """The error for a provider that this ONNX Runtime lacks."""
    conflict = runtime_conflict()
    package = kind.package.partition("[")[0]
    if conflict is not None and installed([package]):
        return DeviceError(f"device {kind.name} cannot be used", conflict.what, hint=conflict.mend)
    where = f"this ONNX Runtime has no {kind.provider}"
    return DeviceError(f"device {kind.name} cannot be used", where, hint=shlex.join(pip("install", kind.package)))


def _driver_hint(driver: CudaDriver) -> str:
    if not driver.version:
        return "install NVIDIA's driver, or let the container see the GPU (docker run --gpus all)"
    return "`nvidia-smi` shows what the driver sees; CUDA_VISIBLE_DEVICES may hide GPUs"


def _cuda_hint(driver: CudaDriver) -> str:
    """How to fix a CUDA provider that does not start."""
    runtime = load_onnxruntime()
    wanted = str(getattr(runtime, "cuda_version", "") or "")
    if wanted and driver.major and int(wanted.partition(".")[0]) > driver.major:
        return (
            f"the driver serves CUDA up to {driver.major} and this onnxruntime-gpu needs {wanted}: "
            "update NVIDIA's driver"
        )
    version = installed(["onnxruntime-gpu"]).get("onnxruntime-gpu", "")
    return shlex.join(pip("install", f"{CUDA_PACKAGE}{'==' + version if version else ''}"))
