"""Run a network on a GPU with inputs and outputs in page-locked memory.

The GPU then copies them by itself, in parallel with other work.
"""

from __future__ import annotations

import math
import threading
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from facecli.vision.runtime.batches import Blank
from facecli.vision.runtime.session import OnnxSession, failure

FixedShape = tuple[int, ...]


class Own(Struct, eq=False):
    """Known output shapes and reusable buffers of a thread."""

    shapes: dict[FixedShape, list[FixedShape]] = field(default_factory=dict)
    buffers: dict[tuple[str, FixedShape], NDArray[Any]] = field(default_factory=dict)


class BoundSession:
    """A Session that uses I/O binding; the first run of each shape is an ordinary one, which shows the output sizes."""

    def __init__(self, session: OnnxSession, blank: Blank) -> None:
        """Run `session` with buffers from `blank`."""
        self.provider, self.input, self.outputs = session.provider, session.input, session.outputs
        self._session, self._blank = session, blank
        self._own = threading.local()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network on `feed`, a batch of the input's shape and dtype; raises DeviceError.

        The outputs are valid until this thread's next run.
        """
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
        return views

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
