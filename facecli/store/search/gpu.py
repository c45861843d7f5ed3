"""Many queries at once: an exact scan on the GPUs, where FAISS has them; else as ever.

A GPU compares a million codes with thousands of queries in the time in which it receives the codes, and it receives
them anew each time: so it is asked only where there are queries enough to pay for that, and a single query never waits
for it.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.sets import SetRow
from facecli.store.search import backends
from facecli.store.search.backends import FaissScan
from facecli.store.search.ranking import Labels, VectorScan
from facecli.store.vector_file import Codes, StoredCodes
from facecli.types import FloatArray

QUERIES_FROM = 256
"""From so many queries on a GPU may be asked. Reckoned, not measured: 1 GB of codes goes to a GPU in 0.1 to 0.3 s,
in which 16 cores answer some 50 queries, and the GPU itself takes about a second to be ready."""
COMPARISONS_FROM = 1_000_000_000
"""Queries times codes: what 16 cores compare in some three seconds."""
MOST_CANDIDATES = 2048
"""The largest k of FAISS on a GPU."""
PORTION = 4096
"""Queries that a GPU answers at once."""
SHARD_BYTES = 256 << 20
"""Codes that go to a GPU at once, so that a small one has the room."""
TEMPORARY_BYTES = 256 << 20
"""What FAISS sets aside on each GPU; its own default is up to 1.5 GB."""


def open_scan(catalogue: Catalogue, row: SetRow, codes: StoredCodes | None) -> VectorScan:
    """The quickest way to the codes of a set; `codes` is its vector file, None where that cannot be used."""
    if codes is not None and row.slots >= backends.FAISS_FROM:
        return AcceleratedScan(catalogue, row, codes)
    return backends.open_cpu_scan(catalogue, row, codes)


class AcceleratedScan(FaissScan):
    """FAISS over the vector file; on the GPUs where many queries come together."""

    def __init__(self, catalogue: Catalogue, row: SetRow, codes: StoredCodes) -> None:
        super().__init__(catalogue, row, codes)
        self._gpus: int | None = None

    def portion(self, queries: int) -> int:
        return PORTION if self._pays(queries) else super().portion(queries)

    def best(self, queries: FloatArray, count: int) -> tuple[Labels, FloatArray]:
        if count <= MOST_CANDIDATES and self._pays(len(queries)):
            try:
                return self._ask_gpus(queries, count)
            except RuntimeError:
                # A GPU without memory, or none that works after all: the processor gives the same.
                self._gpus = 0
        step = super().portion(len(queries))
        return _stack(
            [super(AcceleratedScan, self).best(queries[i : i + step], count) for i in range(0, len(queries), step)]
        )

    def _pays(self, queries: int) -> bool:
        """Whether so many queries are answered sooner by a GPU."""
        if queries < QUERIES_FROM or queries * self.total < COMPARISONS_FROM:
            return False
        if self._gpus is None:
            import faiss  # noqa: PLC0415 (few queries are answered without a look at GPUs)

            count: Callable[[], int] = getattr(faiss, "get_num_gpus", lambda: 0)
            self._gpus = int(count())
        return self._gpus > 0

    def _ask_gpus(self, queries: FloatArray, count: int) -> tuple[Labels, FloatArray]:
        """Each shard is done by the first GPU that is free, and the best of all shards are the best."""
        assert self._gpus
        halves = queries.astype(np.float16)
        free: queue.SimpleQueue[FaissGpu] = queue.SimpleQueue()
        for number in range(self._gpus):
            free.put(FaissGpu(number))

        def search(shard: tuple[Labels, Codes]) -> tuple[Labels, FloatArray]:
            gpu = free.get()
            try:
                return gpu.search(halves, shard, count)
            finally:
                free.put(gpu)

        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415  # rare

        with ThreadPoolExecutor(self._gpus) as workers:
            parts = list(workers.map(search, self._shards()))
        # Queries are rounded to 16 bits there, as the codes are: what that can take from a similarity is added, so that
        # nothing is missed.
        lost = np.linalg.norm(queries - halves.astype(np.float32), axis=1, keepdims=True)
        labels, rough = _merge(parts, count)
        return labels, rough + lost

    def _shards(self) -> Iterator[tuple[Labels, Codes]]:
        """The labels and codes of the slots that faces hold, in portions."""
        held = np.ones(self.total, bool)
        held[self.holes()] = False
        step = max(1, SHARD_BYTES // self._row.file.code_size)
        for start in range(0, self.total, step):
            part = held[start : start + step]
            codes = self._codes.block(start, len(part))
            if part.any():
                yield np.flatnonzero(part) + start, codes if part.all() else codes[part]


class FaissGpu:
    """One GPU as FAISS uses it."""

    def __init__(self, number: int) -> None:
        import faiss  # noqa: PLC0415 (as above)

        self._number, self._faiss = number, faiss
        self._resources: Any = faiss.StandardGpuResources()
        self._resources.setTempMemory(TEMPORARY_BYTES)

    def search(
        self, queries: NDArray[np.float16], shard: tuple[Labels, Codes], count: int
    ) -> tuple[Labels, FloatArray]:
        """The most similar of a shard to each query, falling: labels and similarities (q, up to `count`)."""
        labels, codes = shard
        metric = self._faiss.METRIC_INNER_PRODUCT
        least = min(count, len(labels))
        found = self._faiss.knn_gpu(
            self._resources, queries, np.ascontiguousarray(codes), least, metric=metric, device=self._number
        )
        rough, places = found
        return np.where(places < 0, -1, labels[places]), np.where(places < 0, np.float32(-np.inf), rough)


def _merge(parts: list[tuple[Labels, FloatArray]], count: int) -> tuple[Labels, FloatArray]:
    """The best of several answers to the same queries; -1 where there are fewer than `count`."""
    labels, rough = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    order = np.argsort(-rough, axis=1, kind="stable")[:, :count]
    labels, rough = np.take_along_axis(labels, order, axis=1), np.take_along_axis(rough, order, axis=1)
    missing = ((0, 0), (0, count - labels.shape[1]))
    return np.pad(labels, missing, constant_values=-1), np.pad(rough, missing, constant_values=-np.inf)


def _stack(parts: list[tuple[Labels, FloatArray]]) -> tuple[Labels, FloatArray]:
    """The answers to several portions of queries, one after the other."""
    labels, rough = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    return labels, rough
