"""Run a network with OpenVINO on the CPU."""

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
"""Bytes of a large model file; a smaller model is compiled per thread, at about twice its size in memory each."""
BATCH = 4
"""Inputs per inference: they share the reading of the last layer's weights; more gain little."""


class Form(Struct, frozen=True):
    """A network in the form that OpenVINO reads."""

    model: str | bytes
    """Path of an ONNX file, or its bytes."""
    factor: float = 1.0
    """The input is multiplied by this factor first."""
    takes_batches: bool = False
    """Whether its batch axis is dynamic."""


class OpenVinoSession:
    """A network compiled by OpenVINO for batches of four inputs, and for single inputs; thread-safe.

    Each thread compiles it for itself, because OpenVINO then works in that same thread; threads of OpenVINO's own would
    compete with the other workers for their processors. A network of more than `LARGE` bytes is compiled once for all
    threads, with one stream per processor.
    """

    provider = PROVIDER
    most = 3 * BATCH
    """Largest batch of one run."""

    def __init__(self, form: Form, like: Session, hint: str) -> None:
        """Compile the network; names and shapes of input and outputs are those of `like`.

        hint: OpenVINO's INFERENCE_PRECISION_HINT.
        """
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
        """Evaluate the network on `feed`, float32 (n, 3, h, w); gives one output, (n, d).

        The rest after full batches is evaluated one by one, since OpenVINO compiles each batch size separately.
        """
        request, parts, full = self._request(), [], len(feed) // BATCH * BATCH
        for start in (*range(0, full, BATCH), *range(full, len(feed))):
            request.infer([feed[start : start + (BATCH if start < full else 1)] * self._factor], share_inputs=True)
            parts.append(request.get_output_tensor(0).data.copy())
        return [np.concatenate(parts)]

    def _request(self) -> Any:
        """This thread's inference request."""
        request = getattr(self._own, "request", None)
        if request is None:
            self._own.compiled = self._common or self._compile(1)
            request = self._own.request = self._own.compiled.create_infer_request()
        return request

    def _read(self, model: str | bytes) -> Any:
        """Read the model and make its batch axis dynamic.

        A path that needs none of this is passed to OpenVINO, which then loads its compiled form without reading the
        model.
        """
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
    """Options that cache compiled models, if there is a cache: the next start takes half the time."""
    path = cache_folder(PROVIDER.lower())
    return {} if path is None else {"CACHE_DIR": str(path)}
