"""ONNX Runtime and OpenVINO, imported in one place: telemetry off before their first lines run, noise kept from the terminal."""

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
"""Read by ONNX Runtime when it is imported; the first by its library, the second by builds that carry Microsoft's own client."""


CONVERTER = "openvino.tools.ovc"
"""What of OpenVINO brings its telemetry."""


def load_onnxruntime() -> ModuleType:
    """Give the module `onnxruntime`; raises DeviceError where it is not installed or cannot be loaded."""
    if "onnxruntime" in sys.modules:
        return importlib.import_module("onnxruntime")
    os.environ.update(TELEMETRY_OFF)
    try:
        with captured_noise():
            return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise DeviceError("a library is missing", error.name or "onnxruntime", hint="pip install onnxruntime") from error
    except ImportError as error:
        hint = "memory or file handles are lacking at the moment" if is_lack(error) else "pip install --force-reinstall onnxruntime"
        raise DeviceError("ONNX Runtime cannot be loaded", " ".join(str(error).split()), hint=hint) from error


def load_openvino() -> ModuleType:
    """Give the module `openvino`, without its converter of models; raises ImportError.

    The converter is imported with it by default, takes most of the time, looks up a host of its telemetry and writes to the home directory. The
    module does without where it cannot be imported.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules[CONVERTER] = None  # type: ignore[assignment]  # makes its import fail
    try:
        return importlib.import_module("openvino")
    finally:
        sys.modules.pop(CONVERTER, None)


class Noise:
    """What was written to descriptor 2 in a while."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._text = ""

    def text(self) -> str:
        """What has been written so far, also after the while is over."""
        if not self._file.closed:
            self._file.seek(0)
            self._text = self._file.read().decode("utf-8", "replace")
        return self._text


def _scratch_file() -> IO[bytes]:
    """A file that goes with its last descriptor; in memory where the system has such."""
    if hasattr(os, "memfd_create"):
        return open(os.memfd_create("noise"), "w+b")
    import tempfile  # noqa: PLC0415  # Linux needs none of it

    return tempfile.TemporaryFile()


@contextmanager
def captured_noise() -> Iterator[Noise]:
    """Keep descriptor 2 from the terminal for a while.

    While it is imported, ONNX Runtime looks for GPUs and writes a warning from C++ for each one that it cannot read, as on most virtual machines;
    no setting is heard so early. A provider that cannot start says why in the same way only.
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
