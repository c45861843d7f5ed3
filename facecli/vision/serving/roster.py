"""The devices of a run: which are still there, and who is told when one is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from facecli.errors import DeviceError
from facecli.reporting import Reporter


class Roster:
    """Names of devices, shared by the networks that run on them: one that fails for one network is left out by the others too."""

    def __init__(self, names: Sequence[str], report: Reporter) -> None:
        self._names, self._report = tuple(dict.fromkeys(names)), report
        self._lost: dict[str, DeviceError] = {}
        self._lock = threading.Lock()

    def has_lost(self, name: str) -> bool:
        """Whether a device is out."""
        return name in self._lost

    def lose(self, name: str, error: Exception) -> None:
        """Go on without a device; said once, and not where it was the last: then that is the end, which has an error of its own."""
        with self._lock:
            if name in self._lost:
                return
            self._lost[name] = _as_device_error(name, error)
            left = len(self._names) - len(self._lost)
        if left:
            self._report.warn(
                f"{name} failed and is left out; its batch is done by {'the other' if left == 1 else 'the others'}: {_reason(error)}"
            )

    def shrink(self, name: str, rows: int) -> None:
        """Say that a device takes no more than `rows` at once from now on."""
        self._report.warn(f"{name} has not the memory for a batch of that size; going on with {rows} at once")

    def end(self) -> DeviceError:
        """The error of a run that has no device left."""
        with self._lock:
            last = list(self._lost.values())[-1:]
        return last[0] if last else DeviceError("the devices are closed", ", ".join(self._names))


def _as_device_error(name: str, error: Exception) -> DeviceError:
    return DeviceError(
        f"the device failed ({_reason(error)})",
        name,
        hint="what was done before is kept; the same run again goes on from there",
    )


def _reason(error: Exception) -> str:
    """What happened, in one line; of an error of ours what the library said."""
    if isinstance(error, DeviceError):
        return error.hint or error.what
    return " ".join(str(error).split())[:300] or type(error).__name__
