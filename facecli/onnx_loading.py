"""Import ONNX Runtime: telemetry is switched off before the import, and log noise is captured."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import IO

from facecli.errors import DeviceError
from facecli.system import is_lack

TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""ONNX Runtime reads these when it is imported; the first is for its own library, the second for builds that contain
Microsoft's telemetry client."""


def load_onnxruntime() -> ModuleType:
    """Import `onnxruntime`; raises DeviceError if it is not installed or cannot be loaded."""
    if "onnxruntime" in sys.modules:
        return importlib.import_module("onnxruntime")
    os.environ.update(TELEMETRY_OFF)
    try:
        with captured_noise():
            return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise DeviceError(
            "a library is missing", error.name or "onnxruntime", hint="pip install onnxruntime"
        ) from error
    except ImportError as error:
        hint = (
            "memory or file handles are lacking at the moment"
            if is_lack(error)
            else "pip install --force-reinstall onnxruntime"
        )
        raise DeviceError("ONNX Runtime cannot be loaded", " ".join(str(error).split()), hint=hint) from error


class Noise:
    """Output captured from file descriptor 2."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = ""

    def text(self) -> str:
        """The output so far; still available after the capture has ended."""
        if not self._file.closed:
            self._file.seek(0)
            self._text = self._file.read().decode("utf-8", "replace")
        return self._text


def _scratch_file() -> IO[bytes]:
    """A temporary file that vanishes when its last descriptor is closed; in memory if the system supports that."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("noise"), "w+b")
    import tempfile  # noqa: PLC0415  # not needed on Linux

    return tempfile.TemporaryFile()


@contextmanager
def captured_noise() -> Iterator[Noise]:
    """Capture file descriptor 2, of all threads; the output does not reach the terminal.

    During import ONNX Runtime looks for GPUs and writes a warning from C++ for each one that it cannot read, as on most
    virtual machines; no setting takes effect that early. A provider that cannot start gives its reason only this way,
    too.
    """
    with _scratch_file() as file:
        noise = Noise(file)
        sys.stderr.flush()
        try:
            kept = os.dup(2)
        except OSError:
            yield noise
            return
        try:
            os.dup2(file.fileno(), 2)
            yield noise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            noise.text()
