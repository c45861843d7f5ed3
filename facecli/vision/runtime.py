"""ONNX Runtime, imported in one place: telemetry off before its first line runs, its noise kept from the terminal."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from facecli.errors import DeviceError

TELEMETRY_OFF = {"ORT_DISABLE_TELEMETRY": "1", "ORT_TELEMETRY_DISABLED": "1"}
"""Read by ONNX Runtime when it is imported; the first by its library, the second by builds that carry Microsoft's own client."""


def load_onnxruntime() -> ModuleType:
    """Give the module `onnxruntime`; raises DeviceError where it is not installed or cannot be loaded."""
    if "onnxruntime" in sys.modules:
        return importlib.import_module("onnxruntime")
    os.environ.update(TELEMETRY_OFF)
    try:
        with _muted():
            return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise DeviceError("a library is missing", error.name or "onnxruntime", hint="pip install onnxruntime") from error
    except ImportError as error:
        raise DeviceError("ONNX Runtime cannot be loaded", " ".join(str(error).split()), hint="pip install --force-reinstall onnxruntime") from error


@contextmanager
def _muted() -> Iterator[None]:
    """Point descriptor 2 at nothing.

    While it is imported, ONNX Runtime looks for GPUs and writes a warning from C++ for each one that it cannot read, as on most virtual machines;
    no setting is heard so early. What goes wrong in earnest comes as an exception.
    """
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)
