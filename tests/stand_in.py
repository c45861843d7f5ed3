"""The processor in a GPU's place: devices cuda:0, cuda:1, … that work in batches, with a made-up driver and FAISS.

So the tests and the benchmark of GPUs run everywhere; what is left to a GPU are CUDA's own results, times and limits.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from made_up_driver import GB, MadeUpDriver
from misbehaving import TEST, add_test_devices
from numpy.typing import NDArray

from facecli.errors import DeviceError
from facecli.store.search import gpu
from facecli.types import FloatArray
from facecli.vision.capacity import DETECTOR_BYTES, RECOGNISER_BYTES
from facecli.vision.devices import benchmark, select
from facecli.vision.recognition.alignment import CROP
from facecli.vision.runtime import cuda, pinned_memory, session
from facecli.vision.runtime.providers import Device

NAMED = os.environ.get("FACECLI_TEST_DEVICE", "")
"""The devices that the tests shall use; empty for GPUs, or where there are none the processor in their place."""
LIMIT = "gpu_mem_limit"
"""CUDA's option for the most bytes of a session's arena."""
INNER_PRODUCT = 0
"""FAISS's number of that metric."""
HERE = os.path.dirname(os.path.abspath(__file__))
START_OF_A_WORKER = (
    f"import sys; sys.path[:0] = [sys.argv[3], {HERE!r}]; import stand_in; stand_in.put_for_good(); "
    "from facecli.fleet.process import main; main()"
)
"""What a worker process runs, in place of facecli's own start."""


class Limited:
    """ONNX Runtime's session with the name of its device's provider, and no more memory than the device's options say.

    The bytes of a batch are reckoned as the plan of batches does.
    """

    def __init__(self, native: Any, device: Device) -> None:
        self._native, self._provider = native, device.provider
        self._limit = int(dict(device.options).get(LIMIT, 1 << 62))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._native, name)

    def get_providers(self) -> list[str]:
        return [self._provider]

    def run(self, names: Any, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        for batch in feed.values():
            known = RECOGNISER_BYTES if CROP in batch.shape[2:] else DETECTOR_BYTES
            wanted = batch.size // 3 * known[0][1]
            if wanted > self._limit:
                raise RuntimeError(f"Failed to allocate memory for requested buffer of size {wanted}")
        return list(self._native.run(names, feed))


class FaissOfTwo:
    """FAISS with two GPUs, imitated with numpy."""

    def __init__(self) -> None:
        self.get_num_gpus: Callable[[], int] = lambda: 2
        self.StandardGpuResources = lambda: self

    def setTempMemory(self, size: int) -> None:  # noqa: N802 (the library's name)
        assert size == gpu.TEMPORARY_BYTES

    def knn_gpu(
        self, _: Any, queries: NDArray[Any], codes: NDArray[Any], count: int, **options: int
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        assert (queries.dtype, codes.dtype, options["metric"]) == (np.float16, np.float16, INNER_PRODUCT)
        rough = queries.astype(np.float32) @ codes.astype(np.float32).T
        places = np.argsort(-rough, axis=1)[:, :count]
        return np.take_along_axis(rough, places, axis=1), places


@cache
def stands_in() -> bool:
    """Whether the tests use the processor in a GPU's place."""
    if NAMED:
        return NAMED.startswith("cpu")
    try:
        return not select.find_devices("cuda")
    except DeviceError:
        return True


def put(patch: pytest.MonkeyPatch) -> None:
    """Let `cuda` name the processor in a GPU's place, until the patch is undone."""
    add_test_devices(patch, "cuda")
    inner = session.open_inference

    def opened(model: str | bytes, device: Device, options: Any = None, *, explained: bool = True) -> Any:
        native = inner(model, device, options, explained=explained)
        return Limited(native, device) if device.provider == TEST else native

    driver = MadeUpDriver(free=20 * GB)
    for module in (select, session, benchmark):
        patch.setattr(module, "open_inference", opened)
    for module in (cuda, pinned_memory):
        patch.setattr(module, "load_driver", lambda: driver)
    patch.setattr("facecli.fleet.processes._START", START_OF_A_WORKER)
    imitation = FaissOfTwo()
    for name in ("get_num_gpus", "StandardGpuResources", "knn_gpu"):
        patch.setattr(f"faiss.{name}", getattr(imitation, name), raising=False)


def put_for_good() -> None:
    """The same for the whole of this process."""
    put(pytest.MonkeyPatch())
