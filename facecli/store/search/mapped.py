"""Files of codes that FAISS maps into memory, divided into parts that all processors search together.

FAISS itself divides only the queries among threads. So each part is an index of its own, over a view of the mapping.
Truncating a mapped file kills the process: `check` compares its size before each search.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.store.short_codes import make_estimator
from facecli.store.vector_file import HALVES, StoredCodes
from facecli.system import count_processors

T = TypeVar("T")
R = TypeVar("R")


class MappedPart(Struct, frozen=True, eq=False):
    """A part of a mapped file: its first slot, and a FAISS index of its codes."""

    first: int
    index: Any


class MappedCodes:
    """The codes of an open file, mapped; raises RuntimeError where FAISS cannot map it."""

    def __init__(self, stored: StoredCodes, part: int) -> None:
        import faiss  # noqa: PLC0415 (a small index is searched without it)

        self.stored = stored
        self._faiss: Any = faiss  # Its stubs are the C++ ones.
        stored.check()
        self._whole: Any = self._faiss.read_index(f"/dev/fd/{stored.descriptor}", self._faiss.IO_FLAG_MMAP_IFC)
        held = self._whole.codes
        read_ahead(int(held.data()), int(held.size()))
        file = stored.file
        room = (ctypes.c_ubyte * (len(stored) * file.code_size)).from_address(int(held.data()))
        self.codes: NDArray[Any] = np.ctypeslib.as_array(room).view(file.form.dtype).reshape(len(stored), file.width)
        """All codes, (n, width), as they are in the file."""
        self._part_size = part

    @cached_property
    def parts(self) -> list[MappedPart]:
        """Indexes of all parts."""
        size, total = self._part_size, len(self.stored)
        return [self._part(first, min(size, total - first)) for first in range(0, total, size)]

    def check(self) -> None:
        """Raise VectorsDamaged where the file is no longer complete."""
        self.stored.check()

    def _part(self, first: int, count: int) -> MappedPart:
        faiss, file = self._faiss, self.stored.file
        index: Any
        if file.form == HALVES:
            index = faiss.IndexScalarQuantizer(
                file.dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
            )
        else:
            index = make_estimator(file.dimension)
        index.is_trained = True
        data = self.codes[first : first + count].reshape(-1).view(np.uint8)
        index.codes = faiss.MaybeOwnedVectorUInt8.create_view(faiss.swig_ptr(data), len(data), self._whole.codes.owner)
        index.ntotal = count
        return MappedPart(first, index)


def selecting(held: NDArray[np.bool_] | None, part: MappedPart) -> dict[str, Any]:
    """The arguments that let FAISS compare only the held slots, bool (total,), of a part; none where it is None."""
    if held is None:
        return {}
    import faiss  # noqa: PLC0415 (as above)

    made: Any = faiss  # Its stubs are the C++ ones.
    bits = np.packbits(held[part.first : part.first + part.index.ntotal], bitorder="little")
    return {"params": made.SearchParameters(sel=made.IDSelectorBitmap(bits))}


def in_threads(action: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What an action returns for each item, in their order, by as many threads as processors may be used."""
    import faiss  # noqa: PLC0415 (as above)

    def alone(item: T) -> R:
        faiss.omp_set_num_threads(1)  # In this thread only: FAISS's own threads would take turns with ours.
        return action(item)

    threads = min(len(items), count_processors())
    if threads <= 1:
        return [alone(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # a small index needs none

    with ThreadPoolExecutor(threads) as workers:
        return list(workers.map(alone, items))


def read_ahead(address: int, length: int) -> None:
    """Turn the kernel's read-ahead for a mapping on again.

    FAISS turns it off, and a sequential scan then waits for the disk at every page (5 s instead of 0.2 s for 200 MB).
    """
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is not None and length:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(address + length - start), mmap.MADV_NORMAL)
