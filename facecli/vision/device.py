"""Turn the name of a device into what ONNX Runtime needs to run there."""

from __future__ import annotations

from dataclasses import dataclass

from facecli.errors import DeviceError

CPU = "CPUExecutionProvider"


@dataclass(frozen=True, slots=True)
class Device:
    """One place where networks run."""

    name: str
    """As users name it: cpu, cuda:0."""
    provider: str
    """ONNX Runtime's name for it, such as CPUExecutionProvider."""
    options: tuple[tuple[str, str], ...] = ()
    """The provider's options, as pairs."""


def find_devices(named: str) -> tuple[Device, ...]:
    """The devices of a name: auto, cpu, cuda, cuda:0,1; raises DeviceError, which says what mends it."""
    kind, _, numbers = named.partition(":")
    if kind == "auto" and not numbers:
        return (Device("cpu", CPU),)
    if kind == "cpu":
        return tuple(Device(f"cpu:{n}", CPU) for n in numbers.split(",")) if numbers else (Device("cpu", CPU),)
    raise DeviceError("there is no such device", named)
