"""A network on a device: an ONNX Runtime session, and the provider that it really uses."""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct
from numpy.typing import NDArray

from facecli.errors import DeviceError, DeviceFull, PackError
from facecli.onnx_loading import load_onnxruntime
from facecli.system import is_lack
from facecli.vision.runtime.providers import Device, open_inference

FATAL = 4
"""The only severity that ONNX Runtime may log itself; all errors are also raised as exceptions."""

OUT_OF_MEMORY = (
    "failed to allocate memory",
    "out of memory",
    "out_of_memory",
    "bfc_arena",
    "not enough memory",
    "alloc_failed",
)
"""Out-of-memory messages of ONNX Runtime and the libraries below it (CUDA, cuDNN, cuBLAS, HIP, OpenVINO, Vulkan)."""

Shape = tuple[int | None, ...]


class Tensor(Struct, frozen=True):
    """An input or output: its name, and its shape with None for dynamic axes."""

    name: str
    shape: Shape
    pixels: bool = False
    """Whether an input takes pixels, uint8 (n, h, w, 3) RGB, instead of normalised values, float32 (n, 3, h, w)."""


class Session(Protocol):
    """A network with one input."""

    provider: str
    input: Tensor
    outputs: tuple[Tensor, ...]

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network on `feed`, a batch, and give its outputs; thread-safe. Raises DeviceError."""


class SessionOptions(Struct, frozen=True):
    """Options of a session."""

    threads: int = 1
    optimised: bool = False
    """Whether the file was written by ONNX Runtime after its optimisations, so that they need not run again."""
    save_to: str = ""
    """Path to which ONNX Runtime writes the optimised graph; not written if empty."""


class OnnxSession:
    """An ONNX Runtime session."""

    def __init__(self, session: Any) -> None:
        self.native = session
        """The `onnxruntime.InferenceSession`."""
        self.provider = str(session.get_providers()[0])
        self.input = _tensor(session.get_inputs()[0])
        self.outputs = tuple(_tensor(o) for o in session.get_outputs())
        self._names = [o.name for o in self.outputs]

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Evaluate the network on `feed`, a batch of the input's shape and dtype; raises DeviceError."""
        try:
            return list(self.native.run(self._names, {self.input.name: feed}))
        except Exception as error:  # the exceptions of ONNX Runtime have no other common base
            raise failure(error, self.provider) from error


def lacks_memory(error: Exception) -> bool:
    """Whether an error means that the device or the system is out of memory at the moment."""
    return isinstance(error, DeviceFull) or is_lack(error) or any(sign in str(error).lower() for sign in OUT_OF_MEMORY)


def failure(error: Exception, provider: str) -> DeviceError:
    """Convert an exception of ONNX Runtime: DeviceFull if the device is out of memory, else DeviceError."""
    if lacks_memory(error):
        return DeviceFull("the device is out of memory", provider, hint=_first_line(error))
    return DeviceError("the network failed", provider, hint=_first_line(error))


def open_session(model: str | bytes, device: Device, options: SessionOptions | None = None) -> OnnxSession:
    """Open a network, given as path or bytes, on `device`.

    Raises DeviceError if a device other than the CPU is not available, and PackError if the model cannot be read.
    """
    settings = _settings(load_onnxruntime(), options or SessionOptions())
    try:
        # explained=False: output of other threads on stderr must not be captured.
        session = open_inference(model, device, settings, explained=False)
    except DeviceError:
        raise
    except Exception as error:  # see OnnxSession.run
        if lacks_memory(error):
            raise failure(error, device.provider) from error
        where = model if isinstance(model, str) else "a rewritten model"
        raise PackError("not a usable ONNX model", where, hint=_first_line(error)) from error
    session.disable_fallback()
    return OnnxSession(session)


def _settings(runtime: Any, options: SessionOptions) -> Any:
    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = FATAL
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    settings.add_session_config_entry("session.inter_op.allow_spinning", "0")
    if options.optimised:
        settings.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # The weights of convolutions are already packed in the file; packing those of the last layer as well delays
        # every start and gains no speed.
        settings.add_session_config_entry("session.disable_prepacking", "1")
    if options.save_to:
        settings.optimized_model_filepath = options.save_to
    return settings


def _tensor(described: Any) -> Tensor:
    shape = tuple(s if isinstance(s, int) and s > 0 else None for s in described.shape)
    return Tensor(str(described.name), shape, described.type == "tensor(uint8)")


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
