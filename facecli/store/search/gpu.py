"""Exact scans on GPUs for many queries at once, where FAISS supports them.

A GPU compares a million codes with thousands of queries in the time that it takes to send it the codes, and they are
sent again for each scan. So GPUs are used only where there are enough queries to pay for that, never for a single one.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.sets import SetRow
from facecli.store.records import Labels
from facecli.store.search import backends
from facecli.store.search.backends import CatalogueScan, FileScan
from facecli.store.search.faiss_scan import FaissScan
from facecli.store.search.ranking import Found, VectorScan, Wanted, join_best
from facecli.store.vector_file import Codes, StoredCodes
from facecli.types import FloatArray

QUERIES_FROM = 256
"""The least number of queries for a GPU. Estimated, not measured: sending 1 GB of codes to a GPU takes 0.1 to 0.3 s,
in which 16 cores answer about 50 queries, and the GPU takes about a second to initialise."""
COMPARISONS_FROM = 1_000_000_000
"""The least number of queries times codes for a GPU: 16 cores compare that many in about three seconds."""
MOST_CANDIDATES = 2048
"""The largest k that FAISS supports on a GPU."""
SHARD_BYTES = 256 << 20
"""The bytes of codes sent to a GPU at once, so that they fit a small one."""
TEMPORARY_BYTES = 256 << 20
"""The memory that FAISS reserves on each GPU, in bytes; its default is up to 1.5 GB."""


def open_scan(catalogue: Catalogue, row: SetRow, codes: StoredCodes | None) -> VectorScan:
    """The fastest scan of a set; `codes` is its vector file, None where that cannot be used."""
    if codes is None:
        return CatalogueScan(catalogue, row)
    return (AcceleratedScan if row.slots >= backends.FAISS_FROM else FileScan)(catalogue, row, codes)


class AcceleratedScan(FaissScan):
    """Scan the vector file with FAISS, on the GPUs where there are many queries."""

    def __init__(self, catalogue: Catalogue, row: SetRow, codes: StoredCodes) -> None:
        super().__init__(catalogue, row, codes)
        self._gpus: int | None = None

    def best(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        if count <= MOST_CANDIDATES and self._pays(len(queries)):
            try:
                return self._ask_gpus(queries, count, wanted.scope.among)
            except RuntimeError:
                # A GPU that is out of memory or does not work: the CPU gives the same results.
                self._gpus = 0
        return super().best(queries, count, wanted)

    def _pays(self, queries: int) -> bool:
        """Whether a GPU answers so many queries faster."""
        if queries < QUERIES_FROM or queries * self.total < COMPARISONS_FROM:
            return False
        if self._gpus is None:
            import faiss  # noqa: PLC0415 (few queries need no GPU)

            count: Callable[[], int] = getattr(faiss, "get_num_gpus", lambda: 0)
            self._gpus = int(count())
        return self._gpus > 0

    def _ask_gpus(self, queries: FloatArray, count: int, among: Labels | None) -> list[Found]:
        """Search each shard on the first free GPU, and merge the results of all shards."""
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
            parts = list(workers.map(search, self._shards(among)))
        # The GPU rounds queries to float16, as the codes are. The most that this can take from a similarity is added
        # back, so that no face is missed.
        lost = np.linalg.norm(queries - halves.astype(np.float32), axis=1, keepdims=True)
        labels, rough = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
        found = [(row[row >= 0], some[row >= 0]) for row, some in zip(labels, rough + lost, strict=True)]
        return [join_best([one], count) for one in found]

    def _shards(self, among: Labels | None) -> Iterator[tuple[Labels, Codes]]:
        """The labels and codes of the slots with faces, and `among` these, in shards of at most SHARD_BYTES."""
        held = self.held(among)
        step = max(1, SHARD_BYTES // self._row.file.code_size)
        for start in range(0, self.total, step):
            part = held[start : start + step]
            codes = self._codes.block(start, len(part))
            if part.any():
                yield np.flatnonzero(part) + start, codes if part.all() else codes[part]


class FaissGpu:
    """One GPU, used through FAISS."""

    def __init__(self, number: int) -> None:
        import faiss  # noqa: PLC0415 (as above)

        self._number, self._faiss = number, faiss
        self._resources: Any = faiss.StandardGpuResources()
        self._resources.setTempMemory(TEMPORARY_BYTES)

    def search(
        self, queries: NDArray[np.float16], shard: tuple[Labels, Codes], count: int
    ) -> tuple[Labels, FloatArray]:
        """The most similar codes of a shard to each query, by falling similarity.

        `queries` is float16 (q, d) of unit length; `shard` holds labels int64 (n,) and codes float16 (n, d). Returns
        labels int64 and cosine similarities float32, both (q, k) with k = min(`count`, n); -1 and -inf where there are
        fewer. Raises RuntimeError where the GPU fails.
        """
        labels, codes = shard
        metric = self._faiss.METRIC_INNER_PRODUCT
        least = min(count, len(labels))
        found = self._faiss.knn_gpu(
            self._resources, queries, np.ascontiguousarray(codes), least, metric=metric, device=self._number
        )
        rough, places = found
        return np.where(places < 0, -1, labels[places]), np.where(places < 0, np.float32(-np.inf), rough)
