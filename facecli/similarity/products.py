"""Products of blocks of unit vectors: by bytes on processors that are fast at that, else by float32.

Products of bytes are rough, but the error of each is bounded: `Scaled.slack` says how far a vector lies from its bytes,
and the cosine of two vectors differs from the product of their bytes by at most what `allowance` gives.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache
from typing import Any, Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.errors import DeviceError
from facecli.onnx_loading import load_onnxruntime
from facecli.similarity.codes import PART, HalfArray, in_float32
from facecli.system import count_processors
from facecli.types import FloatArray

BYTES_FROM = 20_000_000
"""The least number of products for which loading ONNX Runtime pays."""
COARSE = 0.06
"""The slack from which on bytes are no use for a vector: most of its length is in a few dimensions."""
_ROUNDING = 5e-5
"""More than the error of float32 sums of products of two unit vectors of some hundred dimensions."""
_TYPICAL = 0.995
"""The share of the vectors whose largest value must fit a byte; the others are clipped, and get a larger slack."""
_TRIAL = (1024, 256, 512)
_ROUNDS = 3
# A graph of one node, MatMulInteger: a uint8 (n, d) with zero point 128, b int8 (d, m), y int32 (n, m). Written out,
# since making it takes the onnx package a second; a test makes it and compares.
GRAPH = (
    b'\x08\x08:p\n\x1b\n\x01a\n\x01b\n\x01z\x12\x01y"\rMatMulInteger\x12\x01g*\t\x10\x02*\x02\x80\x01B\x01z'
    b"Z\x15\n\x01a\x12\x10\n\x0e\x08\x02\x12\n\n\x03\x12\x01n\n\x03\x12\x01d"
    b"Z\x15\n\x01b\x12\x10\n\x0e\x08\x03\x12\n\n\x03\x12\x01d\n\x03\x12\x01m"
    b"b\x15\n\x01y\x12\x10\n\x0e\x08\x06\x12\n\n\x03\x12\x01n\n\x03\x12\x01mB\x04\n\x00\x10\r"
)


class Scaled(Struct, frozen=True, eq=False):
    """Vectors made ready for products."""

    values: NDArray[Any]
    """(n, d): float32, or uint8 with 128 for 0."""
    unit: float
    """What one step of a value stands for."""
    slack: FloatArray
    """float32 (n,): the distance of each vector from what its values stand for."""

    def where(self, chosen: NDArray[np.bool_]) -> Scaled:
        """Some of the vectors."""
        return Scaled(self.values[chosen], self.unit, self.slack[chosen])

    def columns(self) -> NDArray[Any]:
        """The values as columns (d, n): float32 or int8."""
        if self.values.dtype == np.float32:
            return self.values.T
        return np.ascontiguousarray((self.values ^ np.uint8(128)).view(np.int8).T)


def allowance(one: FloatArray | float, other: FloatArray | float) -> Any:
    """The most by which the product of two vectors differs from their cosine, by their slacks.

    With a = A + e, b = B + f: a·b - A·B = a·f + e·b - e·f, and a and b are of unit length.
    """
    return one + other + one * other + _ROUNDING


class Products(Protocol):
    """A way to multiply; usable from several threads."""

    threads: int
    """How many threads can use it at once with profit."""

    def scale(self, vectors: FloatArray | HalfArray, unit: float | None = None) -> Scaled:
        """Make vectors, float32 or float16 (n, d) of about unit length, ready, with the unit of others if given."""

    def multiply(self, rows: Scaled, columns: NDArray[Any]) -> NDArray[Any]:
        """The products of rows (n, d) with the columns (d, m) of others: float32 or int32 (n, m)."""


class FloatProducts:
    """Multiply in float32; the library that numpy uses for that has threads of its own."""

    threads = 1

    def scale(self, vectors: FloatArray | HalfArray, unit: float | None = None) -> Scaled:
        return Scaled(in_float32(vectors), 1.0, np.zeros(len(vectors), np.float32))

    def multiply(self, rows: Scaled, columns: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(rows.values @ columns)


class ByteProducts:
    """Multiply bytes with ONNX Runtime, in the calling thread; raises DeviceError where that is not possible."""

    def __init__(self) -> None:
        runtime = load_onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = runtime.InferenceSession(GRAPH, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own exception classes have no common base but Exception
            raise DeviceError("ONNX Runtime cannot multiply bytes", str(error)) from error
        self.threads = count_processors()

    def scale(self, vectors: FloatArray | HalfArray, unit: float | None = None) -> Scaled:
        values, slack = np.empty(vectors.shape, np.uint8), np.empty(len(vectors), np.float32)
        unit = _step(vectors) if unit is None else unit
        wide, steps = np.empty((2, PART, vectors.shape[1]), np.float32)
        for start in range(0, len(vectors), PART):
            part = slice(start, start + PART)
            _to_bytes(in_float32(vectors[part], wide), unit, steps, (values[part], slack[part]))
        return Scaled(values, unit, slack)

    def multiply(self, rows: Scaled, columns: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self._session.run(None, {"a": rows.values, "b": columns})[0])


def _step(vectors: FloatArray | HalfArray) -> float:
    """The step with which the largest value of most vectors fits a byte."""
    if not len(vectors):
        return 1.0
    if vectors.dtype == np.float16:
        # As integers, the bits of positive numbers have the order of the numbers.
        peaks = (vectors.view("<u2") & 0x7FFF).max(axis=1).view("<f2").astype(np.float32)
    else:
        peaks = np.abs(vectors).max(axis=1)
    return max(float(np.quantile(peaks, _TYPICAL)), 1e-3) / 127


def _to_bytes(vectors: FloatArray, unit: float, room: FloatArray, out: tuple[NDArray[np.uint8], FloatArray]) -> None:
    """Round vectors to steps of `unit`: the bytes and the distances to them go to `out`."""
    values, slack = out
    steps = np.multiply(vectors, np.float32(1 / unit), out=room[: len(vectors)])
    np.rint(steps, out=steps)
    np.clip(steps, -127, 127, out=steps)
    np.add(steps, np.float32(128), out=values, casting="unsafe")
    np.multiply(steps, np.float32(-unit), out=steps)
    np.add(steps, vectors, out=steps)
    np.sqrt(np.einsum("nd,nd->n", steps, steps), out=slack)


def choose_products(count: int) -> Products:
    """The faster way to multiply, for `count` products of vectors."""
    return _fastest() if count >= BYTES_FROM else FloatProducts()


@cache
def _fastest() -> Products:
    """Bytes where a trial shows that they are right and faster on this processor.

    Without instructions for products of bytes (VNNI on x86), sums may be wrong where pairs of products exceed 16 bits.
    The trial takes some hundredths of a second, less than it would be worth to keep its answer on disk, where a copied
    home directory or a moved virtual machine makes it wrong.
    """
    floats = FloatProducts()
    try:
        by_bytes = ByteProducts()
        if not _is_right(by_bytes):
            return floats
        faster = _seconds(by_bytes) < _seconds(floats)
    except DeviceError:
        return floats
    except Exception:  # noqa: BLE001 (as above)
        return floats
    return by_bytes if faster else floats


def _is_right(products: ByteProducts) -> bool:
    """Whether the largest products, which exceed 16 bits soonest, and random ones are right."""
    rows, columns, depth = 33, 65, 512
    draw = np.random.default_rng(1)
    values = draw.integers(0, 256, (rows, depth), np.uint8)
    others = draw.integers(-127, 128, (depth, columns), np.int64).astype(np.int8)
    values[:8], values[8:16], others[:, :16], others[:, 16:32] = 255, 0, 127, -127
    found = products.multiply(Scaled(values, 1.0, np.zeros(rows, np.float32)), others)
    return bool((found == (values.astype(np.int64) - 128) @ others.astype(np.int64)).all())


def _seconds(products: Products) -> float:
    """Processor time of a product of this process, the best of some."""
    rows, columns, depth = _TRIAL
    vectors = np.random.default_rng(2).standard_normal((rows + columns, depth), np.float32) / np.float32(depth**0.5)
    left, right = products.scale(vectors[:rows]), products.scale(vectors[rows:]).columns()
    return min(_timed(lambda: products.multiply(left, right)) for _ in range(_ROUNDS))


def _timed(action: Callable[[], object]) -> float:
    began = time.process_time()
    action()
    return time.process_time() - began
