"""The providers of this ONNX Runtime, and opening a session on one device without fallback."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import re
import sys
from typing import Any

from msgspec import Struct

from facecli.errors import DeviceError
from facecli.onnx_loading import captured_noise, load_onnxruntime

CPU = "CPUExecutionProvider"
OPENVINO = "openvino"
"""A kind of device, and the package that replaces its plug-in if that finds no hardware."""
PLUG_IN = "onnxruntime-ep-"
"""Package name prefix of plug-in providers; the rest is the device's name."""
NO_TF32 = "NVIDIA_TF32_OVERRIDE"
"""NVIDIA's libraries read this variable when they are loaded. TensorRT uses TF32 too, and ONNX Runtime has no option
against it."""
REGISTERED = "already registered"
"""Part of ONNX Runtime's error for a plug-in that is loaded already."""
KINDS_OF_HARDWARE = ("GPU", "NPU", "CPU")
"""Numbering order of a plug-in's devices."""
TINY_MODEL = (
    b'\x08\x08:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01'
    b"b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
"""An ONNX graph of one Relu over one float, opened on a device to check that the device works."""


class Device(Struct, frozen=True):
    """A device that runs networks."""

    name: str
    """Name in options: cpu, cuda:0."""
    provider: str
    """ONNX Runtime's name of the provider, such as CPUExecutionProvider."""
    options: tuple[tuple[str, str], ...] = ()
    """The provider's options, as pairs of name and value."""

    @property
    def kind(self) -> str:
        """The name without its number: cuda."""
        return self.name.partition(":")[0]

    @property
    def number(self) -> int:
        """Number within its kind; 0 if the name has none."""
        return int(self.name.partition(":")[2] or 0)


def built_in_providers() -> list[str]:
    """The providers of this ONNX Runtime build, and those of registered plug-ins."""
    runtime = load_onnxruntime()
    return [str(name) for name in runtime.get_available_providers()]


def preload_cuda() -> str:
    """Load CUDA and cuDNN from the nvidia packages, so that the provider finds them.

    Gives the errors in one line; empty if all could be loaded. Also disables TF32 in this process.
    """
    runtime = load_onnxruntime()
    os.environ[NO_TF32] = "0"
    said = io.StringIO()
    # preload_dlls prints errors to stdout.
    with contextlib.redirect_stdout(said), contextlib.suppress(RuntimeError, OSError):
        runtime.preload_dlls()
    return "; ".join(line.strip() for line in said.getvalue().splitlines() if line.startswith("Failed"))


def installed_plug_ins() -> dict[str, str]:
    """The installed plug-in providers: the device's name and the package's name.

    Only directory names are read; importlib.metadata would take as long as a search for all distributions.
    """
    found = {}
    for entry in sys.path:
        with contextlib.suppress(OSError):
            for name in os.listdir(entry or "."):
                stem = name.removesuffix(".dist-info").partition("-")[0].replace("_", "-").lower()
                if name.endswith(".dist-info") and stem.startswith(PLUG_IN):
                    found[stem.removeprefix(PLUG_IN)] = stem
    return found


def register_plug_in(package: str) -> str:
    """Register a plug-in with ONNX Runtime and give its provider's name; raises DeviceError if it cannot be loaded."""
    runtime = load_onnxruntime()
    try:
        module = importlib.import_module(_module_of(package))
        provider = str(module.get_ep_name())
        if not any(found.ep_name == provider for found in runtime.get_ep_devices()):
            with captured_noise():
                runtime.register_execution_provider_library(package, module.get_library_path())
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        if REGISTERED in first:  # a registered plug-in without hardware is not listed anywhere
            return provider
        raise DeviceError(
            f"a provider cannot be loaded ({first})", package, hint=f"pip install --force-reinstall --no-deps {package}"
        ) from error
    return provider


def _module_of(package: str) -> str:
    """The name of the module in a plug-in's package."""
    # A local import, because it is slow.
    from importlib.metadata import distribution  # noqa: PLC0415

    names = (distribution(package).read_text("top_level.txt") or "").split()
    return names[0] if names else package.replace("-", "_")


def plugged_devices(provider: str) -> list[Any]:
    """The devices that a registered plug-in supports: GPUs first, then NPUs, then the CPU."""
    found = [d for d in load_onnxruntime().get_ep_devices() if d.ep_name == provider]
    return sorted(
        found,
        key=lambda d: KINDS_OF_HARDWARE.index(d.device.type.name) if d.device.type.name in KINDS_OF_HARDWARE else 9,
    )


def open_inference(model: str | bytes, device: Device, options: Any = None, *, explained: bool = True) -> Any:
    """Open an `onnxruntime.InferenceSession` that really runs on the device.

    `model` is a path or the bytes of the graph, `options` a SessionOptions that nothing else uses. ONNX Runtime
    silently falls back to another provider; here that raises DeviceError. It writes the reason only to file descriptor
    2. With `explained` the descriptor is captured and the reason read from it; what other threads write to it meanwhile
    does not reach the terminal.
    """
    runtime = load_onnxruntime()
    options = options if options is not None else runtime.SessionOptions()
    if device.provider == CPU:
        return runtime.InferenceSession(model, options, providers=[CPU])
    with captured_noise() if explained else contextlib.nullcontext() as noise:
        if device.provider not in built_in_providers():
            raise DeviceError(f"device {device.name} cannot be used", f"this ONNX Runtime has no {device.provider}")
        try:
            # The fallback of InferenceSession prints to stdout and uses another provider; here that is an error.
            session = runtime.InferenceSession(
                model, options, providers=_select_provider(options, device), enable_fallback=0
            )
        except Exception as error:
            raise DeviceError(f"device {device.name} cannot be used", _first_reason(str(error))) from error
    if session.get_providers()[0] != device.provider:
        reason = _first_reason(noise.text()) if noise else ""
        raise DeviceError(
            f"device {device.name} cannot be used", reason or f"ONNX Runtime took {session.get_providers()[0]}"
        )
    return session


def _select_provider(options: Any, device: Device) -> list[Any]:
    """The argument `providers` of InferenceSession; the device of a plug-in is added to `options` instead."""
    plugged = plugged_devices(device.provider)
    if not plugged:
        return [(device.provider, dict(device.options))]
    options.add_provider_for_devices([plugged[device.number]], {k: v for k, v in device.options if k != "device_id"})
    return []


def _first_reason(text: str) -> str:
    """The line of the library's log that gives the reason, without its prefix."""
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in text.splitlines() if line.strip()]
    telling = [
        line for line in lines if "cannot open shared object" in line or "CUDA failure" in line or "ailed" in line
    ] or lines
    return telling[0].rpartition("] ")[2].strip()[:300] if telling else ""
