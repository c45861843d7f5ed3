"""The detector and the recogniser of a pack, opened on a device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import cv2
from msgspec import Struct

from facecli.config import DetectionOptions, Precision
from facecli.errors import PackError, UsageError
from facecli.onnx_loading import load_onnxruntime
from facecli.reporting import Reporter, SilentReporter
from facecli.vision.detection.detector import Detector, InputShape
from facecli.vision.detection.network import FaceNetwork
from facecli.vision.devices.select import Device
from facecli.vision.optimization.openvino_choice import open_by_openvino, with_openvino
from facecli.vision.optimization.optimized import open_detector, open_recogniser
from facecli.vision.optimization.rewrite_cache import prepare_cache
from facecli.vision.optimization.variants import RewriteTarget, normalisation
from facecli.vision.packs.resolve import ModelFile, ModelPack
from facecli.vision.recognition.embedder import Embedder
from facecli.vision.runtime.providers import OPENVINO
from facecli.vision.runtime.session import CPU, Session

COARSEST_STRIDE = 32
CPU_CHUNK = 3
"""Crops per run on a CPU: the weights of the last layer are read once for all of them, and the activations of the first
layers still fit into the CPU's caches."""
GPU_CHUNK = 64
GPU_INPUTS = 32


class Opening(threading.Thread):
    """Opens a detector in a thread of its own, while the caller opens the recogniser."""

    def __init__(self, action: Callable[[], Detector]) -> None:
        super().__init__(daemon=True)
        self._action = action
        self._outcome: Detector | BaseException | None = None

    def run(self) -> None:
        try:
            self._outcome = self._action()
        except BaseException as error:  # noqa: BLE001 (result() raises it)
            self._outcome = error

    def result(self) -> Detector:
        """Wait for the detector and return it; raises the error of the thread."""
        self.join()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome


class FaceModels(Struct, frozen=True, eq=False):
    """The open detector and recogniser of a pack; thread-safe."""

    pack: ModelPack
    device: Device
    detector: Detector
    embedder: Embedder

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider in use; both names if the detector and the recogniser differ."""
        return " + ".join(dict.fromkeys((self.detector.provider, self.embedder.provider)))

    def close(self) -> None:
        """Release the devices, if they have threads of their own."""

    def device_seconds(self) -> dict[str, float]:
        """Seconds in which the devices were busy, by stage; empty if the networks run in the caller's threads."""
        return {}


class Source(Protocol):
    """Opens the networks of a pack on one or more devices."""

    @property
    def device(self) -> Device:
        """The device, or one that represents all devices of the source."""

    @property
    def report(self) -> Reporter:
        """Receives messages and progress."""

    def open_detector(self, file: ModelFile) -> FaceNetwork:
        """Open the detector."""

    def open_recogniser(self, file: ModelFile) -> Session:
        """Open the recogniser."""


class OneDevice(Struct, frozen=True):
    """A device whose networks run in the caller's threads."""

    device: Device
    precision: Precision
    report: Reporter

    def open_detector(self, file: ModelFile) -> FaceNetwork:
        return open_detector(file, self.device, self.report)

    def open_recogniser(self, file: ModelFile) -> Session:
        session = open_recogniser(file, self.device, self.report, self.precision)
        if self.device.provider != CPU:
            return session
        wanted = open_by_openvino if self.device.kind == OPENVINO else with_openvino
        return wanted(session, RewriteTarget(file, self.device, self.report), self.precision)


def open_models(
    pack: ModelPack,
    device: Device,
    detection: DetectionOptions,
    precision: Precision = Precision.EXACT,
    report: Reporter | None = None,
) -> FaceModels:
    """Open the detector and the recogniser of `pack` on `device`; raises PackError, DeviceError or UsageError.

    Sets OpenCV to one thread in the whole process: facecli's own threads already use all cores.
    """
    return open_from(OneDevice(device, precision, report or SilentReporter()), pack, detection)


def open_from(source: Source, pack: ModelPack, detection: DetectionOptions) -> FaceModels:
    """Open the detector and the recogniser of `pack` in parallel; sets OpenCV to one thread."""
    cv2.setNumThreads(1)
    load_onnxruntime()
    prepare_cache(source.report)
    opening = Opening(lambda: _detector(source, pack, detection))
    opening.start()
    try:
        session = source.open_recogniser(pack.recogniser)
    finally:
        opening.join()
    detector = opening.result()
    chunk = CPU_CHUNK if source.device.provider == CPU else GPU_CHUNK
    embedder = Embedder(session, chunk=chunk, normalisation=normalisation(pack.recogniser))
    if embedder.dimension != pack.dimension:
        raise PackError(
            f"the recogniser gives {embedder.dimension} numbers, not {pack.dimension}", pack.recogniser.path
        )
    return FaceModels(pack, source.device, detector, embedder)


def _detector(source: Source, pack: ModelPack, detection: DetectionOptions) -> Detector:
    side = detector_side(pack, detection)
    network = source.open_detector(pack.detector)
    shape = InputShape(
        (side, side), pack.detector.input_size is not None, 1 if source.device.provider == CPU else GPU_INPUTS
    )
    return Detector(network, detection, shape, normalisation(pack.detector))


def detector_side(pack: ModelPack, detection: DetectionOptions) -> int:
    """The side of the detector's main input in pixels: the model's fixed size, else the requested one.

    Raises UsageError if that side or the side of the small pass is not a multiple of 32.
    """
    side = pack.detector.input_size or detection.det_size
    if side % COARSEST_STRIDE or detection.small_scale % COARSEST_STRIDE:
        raise UsageError(f"the detector's size must be a multiple of {COARSEST_STRIDE}", f"--det-size {side}")
    return side
