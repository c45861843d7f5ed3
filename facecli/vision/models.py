"""The detector and the recogniser of a pack, opened on a device."""

from __future__ import annotations

import threading
from collections.abc import Callable

import cv2
import numpy as np
from msgspec import Struct

from facecli.config import DetectionOptions, Precision
from facecli.errors import PackError, UsageError
from facecli.onnx_loading import load_onnxruntime
from facecli.reporting import Reporter, SilentReporter
from facecli.vision.capacity import largest_batches, row_bytes
from facecli.vision.detection.detector import Detector, InputShape
from facecli.vision.devices.select import Device
from facecli.vision.optimization.half_precision import HalfSession
from facecli.vision.optimization.openvino_choice import open_by_openvino, with_openvino
from facecli.vision.optimization.optimized import open_detector, open_recogniser
from facecli.vision.optimization.rewrite_cache import prepare_cache
from facecli.vision.optimization.variants import RewriteTarget, normalisation
from facecli.vision.packs.resolve import ModelFile, ModelPack
from facecli.vision.recognition.embedder import Embedder
from facecli.vision.runtime.batches import Batches
from facecli.vision.runtime.cuda import GPU_KINDS, read_gpu
from facecli.vision.runtime.io_binding import BoundSession
from facecli.vision.runtime.pinned_memory import blank_for
from facecli.vision.runtime.providers import CPU, OPENVINO
from facecli.vision.runtime.session import OnnxSession, Session

COARSEST_STRIDE = 32
CPU_CHUNK = 3
"""Crops per run on a CPU: the weights of the last layer are read once for all of them, and the activations of the first
layers still fit into the CPU's caches."""
IN_FLIGHT = 2
"""Batches of a device at once: one is filled and copied while the other is computed."""


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


class Serving(Struct, frozen=True):
    """How a device that works in batches is used."""

    batch_size: int = 64
    """Rows of the largest batch."""
    sharing: int = 1
    """Processes that share the device, and so its memory."""


class FaceModels(Struct, frozen=True, eq=False):
    """The open detector and recogniser of a pack; thread-safe."""

    pack: ModelPack
    device: Device
    detector: Detector
    embedder: Embedder
    half: bool = False
    """Whether an accelerator runs the recogniser in half precision."""

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider in use; both names if the detector and the recogniser differ."""
        return " + ".join(dict.fromkeys((self.detector.provider, self.embedder.provider)))

    @property
    def batched(self) -> bool:
        """Whether the device works on batches of photos; else each thread runs the networks on its own photo."""
        return is_batched(self.device)

    def device_seconds(self) -> dict[str, float]:
        """Seconds in which each network ran, by stage."""
        return {"detect": self.detector.batches.busy_seconds, "embed": self.embedder.batches.busy_seconds}


def is_batched(device: Device) -> bool:
    """Whether a device needs batches: every device but the CPU."""
    return device.provider != CPU


class Needs(Struct, frozen=True):
    """What the networks must give."""

    detection: DetectionOptions
    precision: Precision = Precision.EXACT


def open_served(
    pack: ModelPack, device: Device, needs: Needs, serving: Serving, report: Reporter | None = None
) -> FaceModels:
    """Open the detector and the recogniser of `pack` on `device`, for batches where the device needs them.

    Raises PackError, DeviceError or UsageError. Sets OpenCV to one thread in the whole process: facecli's own threads
    already use all cores.
    """
    report = report or SilentReporter()
    cv2.setNumThreads(1)
    load_onnxruntime()
    prepare_cache(report)
    opening = Opening(lambda: _detector(pack, device, needs.detection, serving, report))
    opening.start()
    try:
        embedder, half = _embedder(pack.recogniser, device, needs.precision, serving, report)
    finally:
        opening.join()
    models = FaceModels(pack, device, opening.result(), embedder, half)
    if embedder.dimension != pack.dimension:
        raise PackError(
            f"the recogniser gives {embedder.dimension} numbers, not {pack.dimension}", pack.recogniser.path
        )
    if models.batched:
        _fit(models, needs, serving, report)
    return models


def _detector(
    pack: ModelPack, device: Device, detection: DetectionOptions, serving: Serving, report: Reporter
) -> Detector:
    side = detector_side(pack, detection)
    network = open_detector(pack.detector, device, report)
    batches = _batches(network.session, device, serving.batch_size if is_batched(device) else 1)
    shape = InputShape((side, side), pack.detector.input_size is not None)
    return Detector(network.over(batches.session), detection, shape, normalisation(pack.detector), batches)


def _embedder(
    file: ModelFile, device: Device, precision: Precision, serving: Serving, report: Reporter
) -> tuple[Embedder, bool]:
    """The embedder, and whether it computes in half precision."""
    session = open_recogniser(file, device, report, precision)
    half = isinstance(session, HalfSession)
    if not is_batched(device):
        wanted = open_by_openvino if device.kind == OPENVINO else with_openvino
        session = wanted(session, RewriteTarget(file, device, report), precision)
    batches = _batches(session, device, serving.batch_size if is_batched(device) else CPU_CHUNK)
    return Embedder(batches, normalisation=normalisation(file)), half


def _batches(session: Session, device: Device, most: int) -> Batches:
    """The batches of a network, with buffers where the device reads them best."""
    blank = blank_for(device)
    if blank is not np.empty and isinstance(session, OnnxSession):
        session = BoundSession(session, blank)
    return Batches(session, most, padded=is_batched(device), blank=blank)


def _fit(models: FaceModels, needs: Needs, serving: Serving, report: Reporter) -> None:
    """Limit the batches to the memory of the GPU, if known; one that is still too large is halved, with one line."""
    device, both = models.device, (models.detector.batches, models.embedder.batches)
    if needs.precision is Precision.FAST and not models.half:
        report.detail(f"fast precision has no effect on {device.name}: the networks run in single precision")
    told = threading.Lock()

    def tell(rows: int) -> None:
        if told.acquire(blocking=False):
            report.warn(f"{device.name} has not the memory for a batch of {rows}; going on with smaller ones")

    for batches in both:
        batches.note_full = tell
    gpu = read_gpu(device.number) if device.kind in GPU_KINDS else None
    if gpu is not None:
        row = row_bytes(models.pack, detector_side(models.pack, needs.detection), half=models.half)
        free = min(gpu.memory_free, gpu.memory_total // serving.sharing)
        most = largest_batches(free, row, {"detect": both[0].most, "embed": both[1].most}, IN_FLIGHT)
        both[0].limit(most["detect"])
        both[1].limit(most["embed"])
        report.detail(
            f"{device.name}: {gpu.memory}, so at most {most['detect']} photos and {most['embed']} faces at once"
        )


def detector_side(pack: ModelPack, detection: DetectionOptions) -> int:
    """The side of the detector's main input in pixels: the model's fixed size, else the requested one.

    Raises UsageError if that side or the side of the small pass is not a multiple of 32.
    """
    side = pack.detector.input_size or detection.det_size
    if side % COARSEST_STRIDE or detection.small_scale % COARSEST_STRIDE:
        raise UsageError(f"the detector's size must be a multiple of {COARSEST_STRIDE}", f"--det-size {side}")
    return side
