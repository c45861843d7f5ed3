"""A device that answers at once or after a set time, in every process that it is put into.

It answers each row of a batch with the networks' result for the first row that it received, so that only facecli's own
work on the host is measured. Several processes share it: one batch is computed at a time.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import facecli.pipeline.chunk_worker
from facecli.vision import models
from facecli.vision.detection.network import FaceNetwork, PlainNetwork
from facecli.vision.detection.scrfd import LAYOUTS
from facecli.vision.optimization.variants import normalisation
from facecli.vision.packs.resolve import ModelFile
from facecli.vision.runtime.providers import CPU, Device
from facecli.vision.runtime.session import Session, Tensor, open_session

PROCESSOR, CANNED = Device("cpu", CPU), Device("canned:0", "CannedExecutionProvider")


class SharedTime:
    """The device as one thing: it is held by one process at a time, and counts how long it was."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """Wait for the device and use it for some time."""
        with self._lock:  # the threads of a process share its lock of the file
            fcntl.flock(self._file, fcntl.LOCK_EX)
            began = time.perf_counter()
            time.sleep(seconds)
            used = self.used() + time.perf_counter() - began
            os.pwrite(self._file, struct.pack("d", used), 0)
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def used(self) -> float:
        """The seconds that it was held."""
        return float(struct.unpack("d", os.pread(self._file, 8, 0).ljust(8, b"\0"))[0])


class Canned:
    """A session of the device over pixels."""

    provider = CANNED.provider

    def __init__(self, file: ModelFile, seconds: float, device: SharedTime | None) -> None:
        """Take `seconds` a row; `device` None takes no time."""
        self._session = open_session(file.path, PROCESSOR)
        count, channels, height, width = self._session.input.shape
        self.input = Tensor("pixels", (count, height, width, channels), pixels=True)
        self.outputs = self._session.outputs
        self._normalisation, self._seconds, self._device = normalisation(file), seconds, device
        self._answers: dict[tuple[int, ...], list[NDArray[Any]]] = {}

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        answer = self._answers.get(feed.shape[1:])
        if answer is None:
            mean, factor = self._normalisation
            values = (feed[:1].astype(np.float32) - np.float32(mean)) * np.float32(factor)
            answer = self._session.run(np.ascontiguousarray(values.transpose(0, 3, 1, 2)))
            self._answers[feed.shape[1:]] = answer
        if self._device is not None:
            self._device.hold(self._seconds * len(feed))
        return [_repeated(output, len(feed)) for output in answer]


def _repeated(output: NDArray[Any], rows: int) -> NDArray[Any]:
    """Repeat one row's output for a batch, with or without an axis for the rows."""
    if output.shape[0] == 1:
        return np.broadcast_to(output, (rows, *output.shape[1:]))
    return np.broadcast_to(output, (rows, *output.shape)).reshape(rows * output.shape[0], *output.shape[1:])


def put(seconds: float, path: str) -> None:
    """Let all workers of this process use the device, which takes `seconds` for a photo in all its networks.

    path: of a file that the processes share.
    """
    time_of_all = SharedTime(path) if seconds else None

    def detector(file: ModelFile, *_: object) -> FaceNetwork:
        # Two passes and an embedding; the shares do not matter.
        session: Session = Canned(file, seconds / 3, time_of_all)
        return PlainNetwork(session, LAYOUTS[len(session.outputs)])

    models.open_detector = detector
    models.open_recogniser = lambda file, *_: Canned(file, seconds / 3, time_of_all)  # type: ignore[assignment]
    facecli.pipeline.chunk_worker.find_devices = lambda _: (CANNED,)
