"""A pack's two networks on a device, ready to find and embed faces."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

import cv2
from msgspec import Struct

from facecli.config import DetectionOptions, Precision
from facecli.errors import PackError, UsageError
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
from facecli.vision.runtime.libraries import load_onnxruntime
from facecli.vision.runtime.providers import OPENVINO
from facecli.vision.runtime.session import CPU, Session

COARSEST_STRIDE = 32
CPU_CHUNK = 3
"""The most crops of one run: the last layer's weights are read once for all of them, and the first layers' maps
still fit the caches."""
GPU_CHUNK = 64
GPU_INPUTS = 32


class Opening(threading.Thread):
    """Opens a detector beside what its caller does; a search would wait for nothing else."""

    def __init__(self, action: Callable[[], Detector]) -> None:
        super().__init__(daemon=True)
        self._action = action
        self._outcome: Detector | BaseException | None = None

    def run(self) -> None:
        try:
            self._outcome = self._action()
        except BaseException as error:  # noqa: BLE001 (it is raised again where it is waited for)
            self._outcome = error

    def result(self) -> Detector:
        """Wait for the detector, or raise what went wrong."""
        self.join()
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        assert self._outcome is not None
        return self._outcome


class FaceModels(Struct, frozen=True, eq=False):
    """What finds faces and embeds them; thread-safe."""

    pack: ModelPack
    device: Device
    detector: Detector
    embedder: Embedder

    @property
    def provider(self) -> str:
        """What really runs the networks, as ONNX Runtime names it: the detector, and the recogniser where that is another."""
        return " + ".join(dict.fromkeys((self.detector.provider, self.embedder.provider)))

    def close(self) -> None:
        """Let go of the devices, where they have threads of their own."""

    def device_seconds(self) -> dict[str, float]:
        """How long the devices were in use, by stage; empty where the threads that ask do the work."""
        return {}


class Source(Protocol):
    """Where the networks of a pack are opened."""

    @property
    def device(self) -> Device:
        """What stands for all devices of the source."""

    @property
    def report(self) -> Reporter:
        """Whom to tell."""

    def open_detector(self, file: ModelFile) -> FaceNetwork:
        """The detector's network."""

    def open_recogniser(self, file: ModelFile) -> Session:
        """The recogniser's network."""


class OneDevice(Struct, frozen=True):
    """A device whose networks run in the threads that ask."""

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
    """Open both networks of `pack` on `device`; OpenCV works in the caller's own thread from now on."""
    return open_from(OneDevice(device, precision, report or SilentReporter()), pack, detection)


def open_from(source: Source, pack: ModelPack, detection: DetectionOptions) -> FaceModels:
    """Open both networks of `pack` at once."""
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
    """The side of the detector's main input: the one that it is fixed to, else the one that was asked for; UsageError where it cannot be."""
    side = pack.detector.input_size or detection.det_size
    if side % COARSEST_STRIDE or detection.small_scale % COARSEST_STRIDE:
        raise UsageError(f"the detector's size must be a multiple of {COARSEST_STRIDE}", f"--det-size {side}")
    return side
