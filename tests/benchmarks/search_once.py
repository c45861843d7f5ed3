"""One search of a vector file without a catalogue, in ways to compare; in a process of its own as `ask_once`.

Only what such a search needs is imported, so that a new process shows what it costs.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from facecli.config import By
from facecli.store.records import Scope
from facecli.store.search import backends
from facecli.store.search.gpu import open_scan
from facecli.store.search.mapped import read_ahead
from facecli.store.search.ranking import Wanted, find_nearest
from facecli.store.vector_file import VectorFile
from facecli.types import FloatArray

DIMENSION, PHOTO = 512, 5
THRESHOLD, ERROR, TOP = 0.34, 0.12, 10
MARK = bytes(16)
WAYS = ("before", "exact", "first pass")


class NoCatalogue:
    """Stands in for the catalogue: face n is in slot n - 1, five to a photo, and there are no holes."""

    def __init__(self, file: VectorFile, slots: int) -> None:
        self.file, self.slots, self.set_id, self.path = file, slots, 1, file.directory

    def holes(self, _: int) -> list[int]:
        return []

    def rows(self, _: str, __: tuple[int]) -> list[tuple[int, int, int]]:
        return self._faces_in(range(self.slots))

    def rows_in(self, _: str, slots: list[int], __: int) -> list[list[tuple[int, int, int]]]:
        return [self._faces_in(slots)]

    @staticmethod
    def _faces_in(slots: Iterable[int]) -> list[tuple[int, int, int]]:
        return [(slot, slot + 1, slot // PHOTO) for slot in slots]


def before(file: VectorFile, faces: int) -> Callable[[FloatArray], object]:
    """The scan of facecli 0.1: FAISS over the whole mapped file, on one processor a query; numpy in a small one."""
    if faces < backends.FAISS_FROM:
        return asking(file, faces, None)
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)))
    index: Any = faiss.read_index(str(file.path), faiss.IO_FLAG_MMAP_IFC)
    read_ahead(int(index.codes.data()), int(index.codes.size()))
    catalogue = NoCatalogue(file, faces)

    def ask(queries: FloatArray) -> object:
        rough, labels = index.search(queries, 64)
        return [catalogue.rows_in("", row.tolist(), 1) for row in labels], rough

    return ask


def asking(file: VectorFile, faces: int, error: float | None) -> Callable[[FloatArray], object]:
    """The scan of this facecli, with a first pass if there is an `error`."""
    catalogue: Any = NoCatalogue(file, faces)
    scan = open_scan(catalogue, catalogue, file.read(faces))
    wanted = Wanted(TOP, THRESHOLD, By.FACE, Scope(first_pass=error))
    return lambda queries: find_nearest(scan, queries, wanted)


def ask_once(arguments: list[str]) -> None:
    """Search once in a new process, and print the milliseconds.

    The folder, the number of faces, the way to search and the number of faces for FAISS are given.
    """
    folder, faces, way = Path(arguments[0]), int(arguments[1]), arguments[2]
    backends.FAISS_FROM = int(arguments[3])
    file = VectorFile(folder, 1, MARK, DIMENSION)
    query = np.load(folder / "query.npy")
    began = time.perf_counter()
    ways_of(file, faces)[WAYS.index(way)]()(query)
    sys.stdout.write(f"{(time.perf_counter() - began) * 1000}")


def ways_of(file: VectorFile, faces: int) -> tuple[Callable[[], Callable[[FloatArray], object]], ...]:
    """What opens each of the three ways to search."""
    return (
        lambda: before(file, faces),
        lambda: asking(file, faces, None),
        lambda: asking(file, faces, ERROR),
    )
