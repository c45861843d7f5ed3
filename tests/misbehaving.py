"""Devices that misbehave: CPU sessions that are slow, get lost or run out of memory, and photos for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from PIL import Image

from facecli.errors import DeviceFull
from facecli.vision.detection.network import FaceNetwork
from facecli.vision.packs.resolve import ModelFile
from facecli.vision.runtime.providers import Device
from facecli.vision.runtime.session import Session
from facecli.vision.serving import pooled

FACES = [(110, 330), (320, 210), (520, 340), (795, 410), (955, 130), (1170, 340)]
"""The positions of the faces in t1.jpg: x, y in pixels."""
PHOTOS = 24
Behaviour = Callable[[NDArray[Any], int], None]
"""Called with the input of a device and the number of its earlier runs; may wait or raise."""


class Behaved:
    """A session that runs a given behaviour before each run."""

    def __init__(self, session: Session, behaviour: Behaviour, counts: dict[str, int], name: str) -> None:
        self.provider, self.input, self.outputs = session.provider, session.input, session.outputs
        self._session, self._behaviour, self._counts, self._name = session, behaviour, counts, name

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        self._behaviour(feed, self._counts.get(self._name, 0))
        self._counts[self._name] = self._counts.get(self._name, 0) + 1
        return self._session.run(feed)


def let_behave(patch: pytest.MonkeyPatch, behaviours: dict[str, Behaviour]) -> dict[str, int]:
    """Make devices behave by name; returns how often each was used, updated during the run."""
    counts: dict[str, int] = {}
    open_detector, open_recogniser = pooled.open_detector, pooled.open_recogniser

    def behaved(session: Session, name: str) -> Session:
        return Behaved(session, behaviours.get(name, lambda _, __: None), counts, name)

    def detector(file: ModelFile, device: Device, report: Any) -> FaceNetwork:
        network = open_detector(file, device, report)
        return network.over(behaved(network.session, device.name))

    patch.setattr(pooled, "open_detector", detector)
    patch.setattr(
        pooled,
        "open_recogniser",
        lambda file, device, *rest: behaved(open_recogniser(file, device, *rest), device.name),
    )
    return counts


def slow(_feed: NDArray[Any], _before: int) -> None:
    time.sleep(0.05)


def lost_after(runs: int) -> Behaviour:
    def behave(_feed: NDArray[Any], before: int) -> None:
        time.sleep(0.002)
        if before >= runs:
            raise RuntimeError("fell off the bus")

    return behave


def small(feed: NDArray[Any], _before: int) -> None:
    if len(feed) > 1:
        raise DeviceFull("the device is out of memory", "test", hint="Failed to allocate memory for requested buffer")


def make_crowd(folder: Path, group: Path) -> Path:
    """Put different photos of one, two or three faces, cut out of a photo of six, into `folder`."""
    faces_of = Image.open(group)
    for number in range(PHOTOS):
        faces = [FACES[(number + i) % len(FACES)] for i in range(1 + number % 3)]
        photo = Image.new("RGB", (210 * len(faces), 230))
        for i, (x, y) in enumerate(faces):
            photo.paste(faces_of.crop((x - 105, y - 115, x + 105, y + 115)).rotate(number / 3), (210 * i, 0))
        photo.save(folder / f"{number:02}.png")
    return folder
