"""Device trial: run both models on a device and check its results against the CPU's and its speed."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.cache import keep_answer, recall_answer
from facecli.errors import FacecliError
from facecli.onnx_loading import load_onnxruntime
from facecli.system import count_processors
from facecli.types import FloatArray
from facecli.vision.packs.resolve import ModelPack, find_pack
from facecli.vision.runtime.providers import CPU, OPENVINO, Device, installed_plug_ins, open_inference
from facecli.vision.runtime.session import OnnxSession, failure, lacks_memory

RECORD = "devices"
VERSION = 3
"""Increase when the trial measures something else, so that cached answers become invalid."""
DETECTOR_SIDE = 640
CROP_SIDE = 112
ROUNDS = 5
LEAST_COSINE = 0.999
"""Least cosine between a device's outputs and the CPU's."""


class TrialOutcome(Struct, frozen=True, eq=False):
    """Outputs and time of a device for the trial's input."""

    device: Device
    detection: FloatArray
    """float32 (n,): all outputs of the detector, concatenated."""
    embedding: FloatArray
    """float32 (d,)."""
    seconds: float
    """Time for one detector input and one crop when the whole device is busy. On the CPU: one thread's time divided by
    the number of cores, since indexing runs one photo per core."""

    def agreement(self, other: TrialOutcome) -> tuple[float, float]:
        """Cosines to another device's results: of the detector's outputs, and of the embedding."""
        return _cosine(self.detection, other.detection), _cosine(self.embedding, other.embedding)


def run_trial(pack: ModelPack, device: Device) -> TrialOutcome:
    """Run both models of the pack on the device; raises DeviceError if the device is not available."""
    try:
        return _run(pack, device)
    except FacecliError:
        raise
    except Exception as error:  # ONNX Runtime's own exception classes have no common base but Exception
        raise failure(error, device.provider) from error


def _run(pack: ModelPack, device: Device) -> TrialOutcome:
    detector = open_inference(pack.detector.path, device, _settings(device))
    embed = _recogniser(pack.recogniser.path, device)
    side = pack.detector.input_size or DETECTOR_SIDE
    seconds = []
    for _ in range(1 + ROUNDS):
        began = time.perf_counter()
        detection = detector.run(None, {detector.get_inputs()[0].name: _noise(side)})
        embedding = embed(_noise(CROP_SIDE))
        seconds.append(time.perf_counter() - began)
    flat = np.concatenate([np.asarray(part, np.float32).ravel() for part in detection])
    return TrialOutcome(device, flat, np.asarray(embedding, np.float32).ravel(), min(seconds[1:]) / _workers(device))


def _recogniser(path: str, device: Device) -> Callable[[FloatArray], NDArray[Any]]:
    """A function that embeds a crop, float32 (1, 3, 112, 112), on the device."""
    native = open_inference(path, device, _settings(device))
    if device.provider == CPU and device.kind == OPENVINO:
        # OpenVINO without the plug-in. A local import, because this is rare.
        from facecli.vision.runtime.openvino import Form, OpenVinoSession  # noqa: PLC0415

        session = OpenVinoSession(Form(path), OnnxSession(native), "f32")
        return lambda crop: session.run(crop)[0]
    name = native.get_inputs()[0].name
    return lambda crop: np.asarray(native.run(None, {name: crop})[0])


def _settings(device: Device) -> Any:
    settings = load_onnxruntime().SessionOptions()
    if device.provider == CPU:
        settings.intra_op_num_threads = 1
    return settings


def _workers(device: Device) -> int:
    """How many photos the device works on in parallel."""
    if device.provider != CPU:
        return 1
    return count_processors()


def choose_device(candidates: Sequence[Device]) -> Device:
    """The fastest device, of the candidates and the CPU, whose results agree with the CPU's.

    The answer is cached for a while, and until the machine or its packages change.
    """
    cpu = Device("cpu", CPU)
    key = _fingerprint(candidates)
    kept = recall_answer(RECORD, key)
    for device in (*candidates, cpu):
        if device.name == kept:
            return device
    best, lasting = _fastest(candidates, cpu)
    if lasting:
        keep_answer(RECORD, key, best.name)
    return best


def _fastest(candidates: Sequence[Device], cpu: Device) -> tuple[Device, bool]:
    """The fastest, and whether the answer lasts: a device whose memory others had taken may be the fastest tomorrow."""
    pack = find_pack(None)
    reference = best = run_trial(pack, cpu)
    lasting = True
    for device in candidates:
        try:
            outcome = run_trial(pack, device)
        except FacecliError as error:
            lasting &= not lacks_memory(error)
            continue  # a device that does not start is not available
        if min(outcome.agreement(reference)) >= LEAST_COSINE and outcome.seconds < best.seconds:
            best = outcome
    return best.device, lasting


def _fingerprint(candidates: Sequence[Device]) -> str:
    """Cache key: everything that the answer depends on."""
    runtime = load_onnxruntime()
    names = sorted(device.name for device in candidates)
    parts = (
        VERSION,
        platform.node(),
        platform.machine(),
        count_processors(),
        runtime.__version__,
        names,
        sorted(installed_plug_ins()),
    )
    return " ".join(map(str, parts))


def _noise(side: int) -> FloatArray:
    """The same random input each time: float32 (1, 3, side, side)."""
    return np.random.default_rng(1).standard_normal((1, 3, side, side), np.float32)


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        return 0.0
    size = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / size if size else 0.0
