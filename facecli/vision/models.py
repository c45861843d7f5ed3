"""A pack's two networks on a device, ready to find and embed faces."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from facecli.config import DetectionOptions, Fingerprint, Precision
from facecli.errors import PackError, UsageError
from facecli.types import Reporter, SilentReporter
from facecli.vision.detector import Detector, PlainNetwork
from facecli.vision.device import Device
from facecli.vision.embedder import Embedder
from facecli.vision.packs import ModelFile, ModelPack
from facecli.vision.scrfd import LAYOUTS
from facecli.vision.session import CPU, Session, open_session

COARSEST_STRIDE = 32
CPU_CHUNK = 16
GPU_CHUNK = 64
"""The most crops of one run."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceModels:
    """What finds faces and embeds them; thread-safe."""

    pack: ModelPack
    device: Device
    provider: str
    """ONNX Runtime's name of what really runs the networks."""
    detector: Detector
    embedder: Embedder

    def fingerprint(self, detection: DetectionOptions, precision: Precision) -> Fingerprint:
        """What decides the embeddings that these models give."""
        pack = self.pack
        return Fingerprint(pack.name, pack.detector.sha256, pack.recogniser.sha256, pack.dimension, detection, precision)


def open_models(
    pack: ModelPack,
    device: Device,
    detection: DetectionOptions,
    precision: Precision = Precision.EXACT,
    report: Reporter | None = None,
) -> FaceModels:
    """Open both networks of `pack` on `device`; OpenCV works in the caller's own thread from now on."""
    report = report or SilentReporter()
    cv2.setNumThreads(1)
    if precision is Precision.FAST:
        report.detail("fast precision has no effect without OpenVINO: the networks run in single precision")
    detector_session = open_session(pack.detector.path, device)
    detector = _detector(pack, detector_session, detection)
    session = open_session(pack.recogniser.path, device)
    chunk = CPU_CHUNK if session.provider == CPU else GPU_CHUNK
    embedder = Embedder(session, chunk=chunk, normalisation=_normalisation(pack.recogniser))
    if embedder.dimension != pack.dimension:
        raise PackError(f"the recogniser gives {embedder.dimension} numbers, not {pack.dimension}", pack.recogniser.path)
    return FaceModels(pack, device, session.provider, detector, embedder)


def _detector(pack: ModelPack, session: Session, detection: DetectionOptions) -> Detector:
    layout = LAYOUTS.get(len(session.outputs))
    if layout is None or not layout.landmarks:
        raise PackError("the detector gives no landmarks, so faces cannot be aligned", pack.detector.path)
    fixed = pack.detector.input_size
    side = fixed or detection.det_size
    if side % COARSEST_STRIDE or detection.small_scale % COARSEST_STRIDE:
        raise UsageError(f"the detector's size must be a multiple of {COARSEST_STRIDE}", f"--det-size {side}")
    network = PlainNetwork(session, layout)
    return Detector(network, detection, side=(side, side), fixed=fixed is not None, normalisation=_normalisation(pack.detector))


def _normalisation(file: ModelFile) -> tuple[float, float]:
    """Mean, and the factor that stands for the division by the scale."""
    return file.mean, 1.0 / file.scale
