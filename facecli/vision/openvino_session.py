"""The recogniser by OpenVINO on the processor, where that is faster on this very one.

OpenVINO takes its time to start, so a run begins with ONNX Runtime's session and changes over once it has shown that it is a long one. On
the first such change both are timed, and the answer is kept.
"""

from __future__ import annotations

import importlib.util
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.config import Precision
from facecli.types import FloatArray, Reporter
from facecli.vision import proving
from facecli.vision.cache import add_to_record, read_record
from facecli.vision.packs import ModelFile
from facecli.vision.processor import processor_identity
from facecli.vision.runtime import load_onnxruntime
from facecli.vision.session import Session, Tensor

RECORD = "openvino"
PROVIDER = "OpenVINO"
LONG_RUN = 64
"""Crops after which a run counts as a long one."""
LEAST_COSINE = {Precision.EXACT: 0.999, Precision.FAST: 0.998}
LEAST_GAIN = 0.9
"""It must take less than this share of the other's time."""
ROUNDS = 8
HINTS = {Precision.EXACT: "f32", Precision.FAST: "bf16"}


class OpenVinoSession:
    """A network compiled by OpenVINO for one input at a time, with one thread for each stream."""

    def __init__(self, path: str, like: Session, hint: str, streams: int) -> None:
        """Compile the model at `path`; inputs and outputs are called and shaped as those of `like`."""
        self.input = like.input
        self.outputs: tuple[Tensor, ...] = (Tensor(like.outputs[0].name, (None, like.outputs[0].shape[-1])),)
        self.provider = PROVIDER
        core = importlib.import_module("openvino").Core()
        model = core.read_model(path)
        model.reshape([1, *(size or -1 for size in like.input.shape[1:])])
        settings = {"INFERENCE_PRECISION_HINT": hint, "NUM_STREAMS": streams, "INFERENCE_NUM_THREADS": streams, "ENABLE_CPU_PINNING": False}
        self._compiled = core.compile_model(model, "CPU", settings)
        self._own = threading.local()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network row by row; a processor gains nothing from a batch."""
        request = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._compiled.create_infer_request()
        rows = []
        for row in feed:
            request.infer([row[None]], share_inputs=True)
            rows.append(request.get_output_tensor(0).data.copy())
        return [np.concatenate(rows)]


class ChangingSession:
    """One session at first, and another from the time when so many rows have passed; thread-safe."""

    def __init__(self, first: Session, open_other: Callable[[], Session | None], rows: int) -> None:
        self._session, self._open_other, self._left = first, open_other, rows
        self.provider, self.input, self.outputs = first.provider, first.input, first.outputs
        self._lock = threading.Lock()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network; the thread whose rows are the last of the first session opens the other, and the rest go on meanwhile."""
        with self._lock:
            before, self._left = self._left, self._left - len(feed)
        if before > 0 >= self._left:
            other = self._open_other()
            if other is not None:
                self._session, self.provider = other, other.provider
        return self._session.run(feed)


def with_openvino(session: Session, file: ModelFile, precision: Precision, report: Reporter) -> Session:
    """The session, to be changed for OpenVINO's in a long run where that is installed and has not proved slower here."""
    if importlib.util.find_spec("openvino") is None:
        if precision is Precision.FAST:
            report.detail("without the package openvino fast precision is the same as exact")
        return session
    key = _key(file, precision)
    kept = read_record(RECORD).get(key)
    if kept is False:
        return session

    def open_other() -> Session | None:
        try:
            other = OpenVinoSession(file.path, session, HINTS[precision], _cores())
            if kept is None:
                add_to_record(RECORD, {key: _is_better(session, other, file, precision)})
        except Exception as error:  # noqa: BLE001 (whatever OpenVINO meets, the session at hand does the work)
            report.detail(f"OpenVINO cannot be used: {' '.join(str(error).split())[:200]}")
            return None
        better = bool(kept or read_record(RECORD).get(key))
        report.detail(f"embedding by {'OpenVINO, in ' + HINTS[precision] if better else 'ONNX Runtime, which is as fast here as OpenVINO'}")
        return other if better else None

    return ChangingSession(session, open_other, LONG_RUN)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _key(file: ModelFile, precision: Precision) -> str:
    """What the answer depends on."""
    versions = f"{importlib.import_module('importlib.metadata').version('openvino')} {load_onnxruntime().__version__}"
    return f"{file.sha256[:32]} {precision} {processor_identity()} {versions}"


def _is_better(session: Session, other: Session, file: ModelFile, precision: Precision) -> bool:
    """Whether the other session gives the same to the precision that was asked for, and takes clearly less time.

    Both are timed in turns, since other threads are at work meanwhile.
    """
    crops = proving.proving_crops((file.mean, 1.0 / file.scale))[: len(proving.LANDMARKS)]
    cosines = np.sum(_unit(session.run(crops)[0]) * _unit(other.run(crops)[0]), axis=1)
    if cosines.min() < LEAST_COSINE[precision]:
        return False
    best = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for number, each in enumerate((session, other)):
            began = time.perf_counter()
            each.run(crops)
            best[number] = min(best[number], time.perf_counter() - began)
    return best[1] < LEAST_GAIN * best[0]


def _unit(vectors: FloatArray) -> FloatArray:
    unit: FloatArray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit
