"""Fixtures: the default pack on the CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.config import DetectionOptions
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels, Needs, Serving, open_served
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
        return open_served(find_pack(None), cpu, Needs(DetectionOptions()), Serving())


@pytest.fixture(scope="session")
def read_rgb(find_sample: Callable[[str], Path]) -> Callable[[str], Pixels]:
    """Read a sample photo as RGB."""

    def read(name: str) -> Pixels:
        return cv2.cvtColor(cv2.imread(str(find_sample(name))), cv2.COLOR_BGR2RGB)

    return read
