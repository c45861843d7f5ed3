"""The devices of a run: which are available, and warnings when one is lost."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from facecli.errors import DeviceError
from facecli.reporting import Reporter


class Roster:
    """The devices' names, shared by all networks: a device that fails for one network is dropped by the others too."""

    def __init__(self, names: Sequence[str], report: Reporter) -> None:
        self._names, self._report = tuple(dict.fromkeys(names)), report
        self._lost: dict[str, DeviceError] = {}
        self._lock = threading.Lock()

    def has_lost(self, name: str) -> bool:
        """Whether a device was lost."""
        return name in self._lost

    def lose(self, name: str, error: Exception) -> None:
        """Drop a device, with one warning; none for the last device, whose loss ends the run with an error."""
        with self._lock:
            if name in self._lost:
                return
            self._lost[name] = _as_device_error(name, error)
            left = len(self._names) - len(self._lost)
        if left:
            self._report.warn(
                f"{name} failed and is left out; its batch is done by "
                f"{'the other' if left == 1 else 'the others'}: {_reason(error)}"
            )

    def shrink(self, name: str, rows: int) -> None:
        """Warn that a device takes at most `rows` rows at once from now on."""
        self._report.warn(f"{name} has not the memory for a batch of that size; going on with {rows} at once")

    def end(self) -> DeviceError:
        """The error of a run with no device left."""
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
