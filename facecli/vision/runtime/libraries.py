"""Import OpenVINO without its model converter, which contains telemetry."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

CONVERTER = "openvino.tools.ovc"
"""The OpenVINO module that contains telemetry."""


def load_openvino() -> ModuleType:
    """Import `openvino` without its model converter; raises ImportError.

    By default `openvino` imports the converter, which takes most of the time, looks up a telemetry host and writes to
    the home directory. The module works if that import fails.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    sys.modules[CONVERTER] = None  # type: ignore[assignment]  # makes its import fail
    try:
        return importlib.import_module("openvino")
    finally:
        sys.modules.pop(CONVERTER, None)
