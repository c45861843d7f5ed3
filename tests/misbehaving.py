"""Devices that work in batches, run by the CPU: slow, lost or out of memory if a test wants, and photos for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from numpy.typing import NDArray
from PIL import Image

from facecli.errors import DeviceFull
from facecli.vision import models
from facecli.vision.detection.network import FaceNetwork
from facecli.vision.devices import benchmark, select
from facecli.vision.optimization import half_precision
from facecli.vision.packs.resolve import ModelFile
from facecli.vision.runtime import session
from facecli.vision.runtime.providers import CPU, Device
from facecli.vision.runtime.session import Session

FACES = [(110, 330), (320, 210), (520, 340), (795, 410), (955, 130), (1170, 340)]
"""The positions of the faces in t1.jpg: x, y in pixels."""
PHOTOS = 24
PATIENCE = 60.0
PROCESSOR = Device("cpu", CPU)
Behaviour = Callable[[NDArray[Any], int], None]
"""Called with the input of a device and the number of its earlier runs; may wait or raise."""


class Behaved:
    """A session that runs a given behaviour before each run."""

    def __init__(self, inner: Session, behaviour: Behaviour, counts: dict[str, int], name: str) -> None:
        self.provider, self.input, self.outputs = inner.provider, inner.input, inner.outputs
        self._session, self._behaviour, self._counts, self._name = inner, behaviour, counts, name

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        self._behaviour(feed, self._counts.get(self._name, 0))
        self._counts[self._name] = self._counts.get(self._name, 0) + 1
        return self._session.run(feed)


TEST = "TestExecutionProvider"


def let_behave(patch: pytest.MonkeyPatch, behaviours: dict[str, Behaviour]) -> dict[str, int]:
    """Add devices test:0, test:1, … that work in batches, on the CPU, and make them behave by name.

    Returns how often each was used, updated during the run.
    """
    counts: dict[str, int] = {}
    add_test_devices(patch)
    open_detector, open_recogniser = models.open_detector, models.open_recogniser

    def behaved(inner: Session, name: str) -> Session:
        return Behaved(inner, behaviours.get(name, fine), counts, name)

    def detector(file: ModelFile, device: Device, report: Any) -> FaceNetwork:
        network = open_detector(file, device, report)
        return network.over(behaved(network.session, device.name))

    patch.setattr(models, "open_detector", detector)
    patch.setattr(
        models,
        "open_recogniser",
        lambda file, device, *rest: behaved(open_recogniser(file, device, *rest), device.name),
    )
    return counts


def add_test_devices(patch: pytest.MonkeyPatch, kind: str = "test") -> None:
    """Let `test:0,1` name devices other than the CPU, whose networks ONNX Runtime runs on the CPU."""
    devices_of, open_inference = select._devices_of, session.open_inference

    def devices(named: str, numbers: list[int]) -> tuple[Device, ...]:
        if named != kind:
            return devices_of(named, numbers)
        return tuple(Device(f"{kind}:{number}", TEST) for number in numbers or [0])

    def opened(model: str | bytes, device: Device, options: Any = None, *, explained: bool = True) -> Any:
        return open_inference(model, PROCESSOR if device.provider == TEST else device, options, explained=explained)

    patch.setattr(select, "_devices_of", devices)
    for module in (select, session, benchmark):
        patch.setattr(module, "open_inference", opened)
    # Whether half precision is faster here would be left to chance.
    for name, value in (("LEAST_GAIN", 0.0), ("ROUNDS", 1), ("ROWS", (1,))):
        patch.setattr(half_precision, name, value)


def fine(_feed: NDArray[Any], _before: int) -> None:
    """Nothing is the matter."""


def slow(_feed: NDArray[Any], _before: int) -> None:
    time.sleep(0.3)  # much longer than a batch takes, even on a busy machine


def lost_after(runs: int, lost: threading.Event | None = None) -> Behaviour:
    """A device that fails, and says so first."""

    def behave(_feed: NDArray[Any], before: int) -> None:
        time.sleep(0.002)
        if before >= runs:
            if lost is not None:
                lost.set()
            raise RuntimeError("fell off the bus")

    return behave


def begins_after(event: threading.Event) -> Behaviour:
    """A device whose first run lasts until something has happened."""

    def behave(_feed: NDArray[Any], before: int) -> None:
        if before == 0:
            assert event.wait(PATIENCE)

    return behave


def together(first: Behaviour = fine, second: Behaviour = fine) -> dict[str, Behaviour]:
    """The devices test:0 and test:1, of which the first waits until the second is used: else it might do all alone."""
    used = threading.Event()
    begin = begins_after(used)

    def behave_first(feed: NDArray[Any], before: int) -> None:
        begin(feed, before)
        first(feed, before)

    def behave_second(feed: NDArray[Any], before: int) -> None:
        used.set()
        second(feed, before)

    return {"test:0": behave_first, "test:1": behave_second}


def quick_and_slow(runs: int) -> dict[str, Behaviour]:
    """Two devices: for its first run the second takes as long as the first for so many."""
    enough = threading.Event()

    def quick(_feed: NDArray[Any], before: int) -> None:
        if before == runs:
            enough.set()

    return together(quick, begins_after(enough))


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
