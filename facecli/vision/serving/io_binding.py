"""A network on a GPU whose inputs and outputs lie in page-locked memory: the GPU reads and writes them by itself, beside other work."""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from facecli.vision.runtime.libraries import load_onnxruntime
from facecli.vision.runtime.session import OnnxSession, failure
from facecli.vision.serving.pooling import Blank

FixedShape = tuple[int, ...]
SHRINK = "memory.enable_memory_arena_shrinkage"
"""ONNX Runtime's name for a run at the end of which an arena gives back what nothing uses."""


class Own(Struct, eq=False):
    """What one thread has: the shapes of outputs that it knows, and buffers that it uses again."""

    shapes: dict[FixedShape, list[FixedShape]] = field(default_factory=dict)
    buffers: dict[tuple[str, FixedShape], NDArray[Any]] = field(default_factory=dict)


class BoundSession:
    """A Session that runs by I/O binding; a shape's first run, which tells how large its outputs are, goes the ordinary way."""

    def __init__(self, session: OnnxSession, blank: Blank, arena: str) -> None:
        """Run `session` from and into arrays that `blank` gives; `arena` is ONNX Runtime's name of the device's memory, such as gpu:0."""
        self.provider, self.input, self.outputs = session.provider, session.input, session.outputs
        self._session, self._blank, self._arena = session, blank, arena
        self._own = threading.local()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network on `feed`; a failure is a DeviceError."""
        own: Own = self._own.__dict__.setdefault("own", Own())
        shapes = own.shapes.get(feed.shape)
        if shapes is None:
            outputs = self._session.run(feed)
            own.shapes[feed.shape] = [output.shape for output in outputs]
            return outputs
        views = [
            self._view(own, output.name, feed.shape[1:], shape)
            for output, shape in zip(self.outputs, shapes, strict=True)
        ]
        self._run_into(np.ascontiguousarray(feed), views)
        # The buffers are written again by the next run, while others still look at this one's rows.
        return [view.copy() for view in views]

    def give_back_memory(self, row: FixedShape) -> None:
        """Let the device have back what no run uses now, by one run over a row of the shape `row`.

        The arena keeps what it once took, piece by piece. The pieces of small batches are of no use to a larger one,
        and a network that has grown from one row by doubling would hold twice what it needs.
        """
        options = load_onnxruntime().RunOptions()
        options.add_run_config_entry(SHRINK, self._arena)
        try:
            self._session.native.run(None, {self.input.name: np.zeros((1, *row), np.float32)}, options)
        except Exception as error:  # as below
            raise failure(error, self.provider) from error

    def _run_into(self, feed: NDArray[Any], outputs: list[NDArray[Any]]) -> None:
        native = self._session.native
        binding = native.io_binding()
        try:
            binding.bind_input(self.input.name, "cpu", 0, feed.dtype, feed.shape, feed.ctypes.data)
            for described, output in zip(self.outputs, outputs, strict=True):
                binding.bind_output(described.name, "cpu", 0, output.dtype, output.shape, output.ctypes.data)
            native.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except Exception as error:  # ONNX Runtime's own exception classes have no common base but Exception
            raise failure(error, self.provider) from error

    def _view(self, own: Own, name: str, row: FixedShape, shape: FixedShape) -> NDArray[np.float32]:
        """The beginning of the buffer for an output; all sizes of batch share one."""
        size = math.prod(shape)
        buffer = own.buffers.get((name, row))
        if buffer is None or len(buffer) < size:
            buffer = own.buffers[name, row] = self._blank((size,), np.dtype(np.float32))
        return buffer[:size].reshape(shape)
