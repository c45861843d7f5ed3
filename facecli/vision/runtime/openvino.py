"""A network by OpenVINO on the processor."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.cache import cache_folder
from facecli.system import count_processors
from facecli.vision.runtime.libraries import load_openvino
from facecli.vision.runtime.session import Session, Tensor

PROVIDER = "OpenVINO"
LARGE = 40_000_000
"""Bytes of a model file; a small one takes about twice as much memory in each thread."""
BATCH = 4
"""So many inputs share the reading of the last layer's weights; more gain little."""


class Form(Struct, frozen=True):
    """A network as OpenVINO is given it."""

    model: str | bytes
    """The path of an ONNX file, or its bytes."""
    factor: float = 1.0
    """What the network's input is multiplied by before."""
    takes_batches: bool = False
    """Whether its first axis is open."""


class OpenVinoSession:
    """A network compiled by OpenVINO for four inputs at a time, and for one.

    Each thread has it compiled for itself, since OpenVINO then works in that very thread: threads of its own would wake
    on processors on which another worker is busy. A network of more than `LARGE` bytes is compiled once for all, with
    one stream for each processor.
    """

    provider = PROVIDER
    most = 3 * BATCH
    """The most rows of one run."""

    def __init__(self, form: Form, like: Session, hint: str) -> None:
        """Compile the network; inputs and outputs are called and shaped as those of `like`."""
        self.input = like.input
        self.outputs: tuple[Tensor, ...] = (Tensor(like.outputs[0].name, (None, like.outputs[0].shape[-1])),)
        self._factor = np.float32(form.factor)
        self._core = load_openvino().Core()
        self._model = form.model if form.takes_batches and isinstance(form.model, str) else self._read(form.model)
        self._hint, self._lock, self._own = hint, threading.Lock(), threading.local()
        large = (len(form.model) if isinstance(form.model, bytes) else os.path.getsize(form.model)) > LARGE
        self._common = self._compile(count_processors()) if large else None
        self._request()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network; what is left of full batches goes one by one, since each size is compiled anew."""
        request, parts, full = self._request(), [], len(feed) // BATCH * BATCH
        for start in (*range(0, full, BATCH), *range(full, len(feed))):
            request.infer([feed[start : start + (BATCH if start < full else 1)] * self._factor], share_inputs=True)
            parts.append(request.get_output_tensor(0).data.copy())
        return [np.concatenate(parts)]

    def _request(self) -> Any:
        """What runs the network in this thread."""
        request = getattr(self._own, "request", None)
        if request is None:
            self._own.compiled = self._common or self._compile(1)
            request = self._own.request = self._own.compiled.create_infer_request()
        return request

    def _read(self, model: str | bytes) -> Any:
        """The model with an open batch; from a path that needs none of this, OpenVINO takes what it has compiled without reading it."""
        read = self._core.read_model(model)
        read.reshape([-1, *(size or -1 for size in self.input.shape[1:])])
        return read

    def _compile(self, streams: int) -> Any:
        settings = {
            "INFERENCE_PRECISION_HINT": self._hint,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "ENABLE_CPU_PINNING": False,
        }
        with self._lock:
            return self._core.compile_model(self._model, "CPU", settings | _kept_binaries())


def _kept_binaries() -> dict[str, str]:
    """Let OpenVINO keep what it compiles in the user's cache, where there is one: the next start takes half the time."""
    path = cache_folder(PROVIDER.lower())
    return {} if path is None else {"CACHE_DIR": str(path)}
