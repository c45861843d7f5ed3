"""Run both models on a device once: whether it gives the CPU's results, and how fast."""

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
from facecli.system import count_processors
from facecli.types import FloatArray
from facecli.vision.packs.resolve import ModelPack, find_pack
from facecli.vision.runtime.libraries import load_onnxruntime
from facecli.vision.runtime.providers import CPU, OPENVINO, Device, installed_plug_ins, open_inference
from facecli.vision.runtime.session import OnnxSession, failure, lacks_memory

RECORD = "devices"
VERSION = 3
"""Raised when the trial measures otherwise, so that older answers are asked for again."""
DETECTOR_SIDE = 640
CROP_SIDE = 112
ROUNDS = 5
LEAST_COSINE = 0.999
"""What every device must reach to the CPU's result."""


class TrialOutcome(Struct, frozen=True, eq=False):
    """What a device made of the trial's input."""

    device: Device
    detection: FloatArray
    """float32 (n,): all outputs of the detector, one after the other."""
    embedding: FloatArray
    """float32 (d,)."""
    seconds: float
    """For one detector input and one crop where the whole device is busy: on the CPU one thread's time over the cores, as photos are indexed."""

    def agreement(self, other: TrialOutcome) -> tuple[float, float]:
        """Cosine of the detector's outputs and of the embedding to another device's."""
        return _cosine(self.detection, other.detection), _cosine(self.embedding, other.embedding)


def run_trial(pack: ModelPack, device: Device) -> TrialOutcome:
    """Evaluate both models of the pack on the device; raises DeviceError where it does not take."""
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
    """What embeds a crop on the device."""
    native = open_inference(path, device, _settings(device))
    if device.provider == CPU and device.kind == OPENVINO:
        # OpenVINO without its plug-in. Imported here, since it is rare.
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
    """How many photos the device works on at a time."""
    if device.provider != CPU:
        return 1
    return count_processors()


def choose_device(candidates: Sequence[Device]) -> Device:
    """The fastest of the candidates and the CPU that gives the CPU's results; kept for a while, and until the machine or its packages change."""
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
            continue  # one that does not start is none of the devices there are
        if min(outcome.agreement(reference)) >= LEAST_COSINE and outcome.seconds < best.seconds:
            best = outcome
    return best.device, lasting


def _fingerprint(candidates: Sequence[Device]) -> str:
    """What the answer depends on."""
    runtime = load_onnxruntime()
    names = sorted(device.name for device in candidates)
    parts = (VERSION, platform.node(), platform.machine(), count_processors(), runtime.__version__, names, sorted(installed_plug_ins()))
    return " ".join(map(str, parts))


def _noise(side: int) -> FloatArray:
    """float32 (1, 3, side, side): the same random input everywhere."""
    return np.random.default_rng(1).standard_normal((1, 3, side, side), np.float32)


def _cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    if one.shape != other.shape:
        return 0.0
    size = float(np.linalg.norm(one)) * float(np.linalg.norm(other))
    return float(one @ other) / size if size else 0.0
