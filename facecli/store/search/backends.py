"""Scans over all codes of a set: the vector file with numpy or FAISS, or the catalogue without a usable file."""

from __future__ import annotations

import ctypes
import mmap
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.errors import IndexDamaged
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import are_unit, as_bytes, as_int, read_codes
from facecli.store.catalog.sets import SetRow
from facecli.store.disk.filesystem import is_network
from facecli.store.errors import trusted
from facecli.store.records import Labels
from facecli.store.search.ranking import Identified, VectorScan, pick_best, portion, similarities
from facecli.store.vector_file import BLOCK, Codes, StoredCodes
from facecli.system import count_processors
from facecli.types import FloatArray

FAISS_FROM = 150_000
"""The number of slots from which FAISS answers one query faster than numpy, including its import of about 80 ms."""
FEW = 8
"""Slots are read one by one where they are less than one in so many."""
_FAISS_TRIES = 3
_FAISS_QUERIES = 1 << 22
"""The most candidates requested from FAISS in one call, over all queries."""


def open_cpu_scan(catalogue: Catalogue, row: SetRow, codes: StoredCodes | None) -> VectorScan:
    """The fastest scan of a set on the CPU; `codes` is its vector file, None where that cannot be used."""
    if codes is None:
        return CatalogueScan(catalogue, row)
    return (FaissScan if row.slots >= FAISS_FROM else FileScan)(catalogue, row, codes)


class FileScan:
    """Scan the vector file with numpy; labels are slots."""

    def __init__(self, catalogue: Catalogue, row: SetRow, codes: StoredCodes) -> None:
        self.total = row.slots
        self._catalogue = catalogue
        self._row = row
        self._codes = codes

    def held(self, among: Labels | None) -> NDArray[np.bool_]:
        """Which slots have a face and are `among` these, bool (total,)."""
        held = np.full(self.total, among is None)
        if among is not None:
            held[_within(among, self.total)] = True
        held[_within(np.array(self._catalogue.holes(self._row.set_id), np.int64), self.total)] = False
        return held

    def portion(self, queries: int) -> int:
        return portion(self.total)

    def best(self, queries: FloatArray, count: int, among: Labels | None) -> tuple[Labels, FloatArray]:
        if among is not None and len(among) * FEW < self.total:
            return self._best_of(np.unique(_within(among, self.total)), queries, count)
        rough = similarities(self._codes.blocks(), queries, self.total)
        rough[:, ~self.held(among)] = -np.inf
        return pick_best(rough, count)

    def _best_of(self, slots: Labels, queries: FloatArray, count: int) -> tuple[Labels, FloatArray]:
        """The best of a few slots, of which only their codes are read; holes are among them."""
        rough = similarities(iter([(0, self._codes.at(slots))]), queries, len(slots))
        places, rough = pick_best(rough, count)
        return slots[places], rough

    def identify(self, labels: Labels) -> Identified:
        """Look up the faces of labels, int64 (n,): by slot for few labels, by reading the whole table for many."""
        faces, photos = np.full(len(labels), -1, np.int64), np.full(len(labels), -1, np.int64)
        place = {int(label): i for i, label in enumerate(labels)}
        for slot, face_id, photo_id in self._faces_at(list(place)):
            i = place.get(slot)
            if i is not None:
                faces[i], photos[i] = face_id, photo_id
        return _sane(Identified(faces, photos, self._codes.at(labels)))

    def _faces_at(self, slots: list[int]) -> Iterator[tuple[int, int, int]]:
        query, set_id = "SELECT slot, face_id, photo_id FROM faces WHERE set_id = ?", self._row.set_id
        if len(slots) * FEW > self.total:
            parts = [self._catalogue.rows(query, (set_id,))]
        else:
            chunks = [slots[i : i + 500] for i in range(0, len(slots), 500)]
            parts = [
                self._catalogue.rows(f"{query} AND slot IN ({','.join('?' * len(c))})", (set_id, *c)) for c in chunks
            ]
        with trusted(self._catalogue.path):
            for rows in parts:
                yield from ((as_int(slot), as_int(face_id), as_int(photo_id)) for slot, face_id, photo_id in rows)


class FaissScan(FileScan):
    """Scan the vector file with FAISS, which maps it into memory; with numpy where that is not possible.

    Truncating a mapped file kills the process. So the size of the file is checked before each search, and a file that
    another machine can change is not mapped.
    """

    def __init__(self, catalogue: Catalogue, row: SetRow, codes: StoredCodes) -> None:
        super().__init__(catalogue, row, codes)
        self._read: Any = None
        self._may_map = not is_network(row.file.directory)

    def best(self, queries: FloatArray, count: int, among: Labels | None) -> tuple[Labels, FloatArray]:
        few = among is not None and len(among) * FEW < self.total
        index = self._index() if self._may_map and not few else None
        if index is None:
            return super().best(queries, count, among)
        self._codes.check()
        import faiss  # noqa: PLC0415 (a small index is searched without it)

        bits = np.packbits(self.held(among), bitorder="little")
        chosen = faiss.SearchParameters(sel=faiss.IDSelectorBitmap(bits))  # type: ignore[call-arg, arg-type]  # FAISS's stubs are the C++ ones
        step = max(1, _FAISS_QUERIES // count)
        parts = [
            index.search(np.ascontiguousarray(queries[i : i + step]), count, params=chosen)
            for i in range(0, len(queries), step)
        ]
        rough, labels = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        return labels, np.where(labels < 0, np.float32(-np.inf), rough)

    def _index(self) -> Any:
        """The file as a FAISS index, after a check; None where it was replaced or is just being extended."""
        import faiss  # noqa: PLC0415 (as above)

        for _ in range(_FAISS_TRIES if self._read is None else 0):
            try:
                self._read = self._read_index(faiss)
                break
            except (IndexDamaged, OSError, RuntimeError):
                time.sleep(0.01)
        return self._read

    def _read_index(self, faiss: Any) -> Any:
        descriptor = self._row.file.open()
        try:
            self._row.file.check(descriptor, self.total)
            index = faiss.read_index(f"/dev/fd/{descriptor}", faiss.IO_FLAG_MMAP_IFC)
            # OpenMP respects the CPU affinity but no quota (cgroups); with more threads than the quota allows, all are
            # throttled together once it is used up.
            faiss.omp_set_num_threads(min(faiss.omp_get_max_threads(), count_processors()))
            _read_ahead(int(index.codes.data()), int(index.codes.size()))
            return index
        finally:
            os.close(descriptor)


def _within(slots: Labels, total: int) -> Labels:
    """The slots, int64 (n,), that are from 0 to `total`; a damaged catalogue can name others."""
    return slots[(slots >= 0) & (slots < total)]


def _sane(found: Identified) -> Identified:
    """Set the face id to -1 where the code is not of unit length, since its similarity would be meaningless."""
    return replace(found, face_ids=np.where(are_unit(found.codes), found.face_ids, -1))


def _read_ahead(address: int, length: int) -> None:
    """Turn the kernel's read-ahead for a mapping on again.

    FAISS turns it off, and a sequential scan then waits for the disk at every page (5 s instead of 0.2 s for 200 MB).
    """
    start = address // mmap.PAGESIZE * mmap.PAGESIZE
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    if madvise is not None and length:
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(address + length - start), mmap.MADV_NORMAL)


class CatalogueScan:
    """Scan the embeddings in the catalogue with numpy; labels are positions in the order of face ids."""

    def __init__(self, catalogue: Catalogue, row: SetRow) -> None:
        self._catalogue = catalogue
        self._row = row
        query = "SELECT face_id, photo_id, slot FROM faces WHERE set_id = ? ORDER BY face_id"
        rows = catalogue.rows(query, (row.set_id,))
        with trusted(catalogue.path):
            numbers = np.array([[as_int(number) for number in row] for row in rows], np.int64).reshape(len(rows), 3)
        self._faces, self._photos, self._slots = numbers.T
        self.total = len(numbers)

    def portion(self, queries: int) -> int:
        return portion(self.total)

    def best(self, queries: FloatArray, count: int, among: Labels | None) -> tuple[Labels, FloatArray]:
        rough = similarities(self._blocks(), queries, self.total)
        if among is not None:
            rough[:, ~np.isin(self._slots, among)] = -np.inf
        return pick_best(rough, count)

    def identify(self, labels: Labels) -> Identified:
        parts = [self._read(self._faces[labels[i : i + 500]]) for i in range(0, len(labels), 500)]
        codes = np.concatenate(parts) if parts else np.zeros((0, self._row.file.dimension), "<f2")
        return _sane(Identified(self._faces[labels], self._photos[labels], codes))

    def _blocks(self) -> Iterator[tuple[int, Codes]]:
        step = max(1, BLOCK // self._row.file.code_size)
        for start in range(0, self.total, step):
            yield start, self._read(self._faces[start : start + step])

    def _read(self, faces: Labels) -> Codes:
        """The codes float16 (n, d) of faces, int64 (n,); raises IndexDamaged where one is missing."""
        found: dict[object, object] = {}
        for i in range(0, len(faces), 500):
            ids = faces[i : i + 500].tolist()
            marks = ",".join("?" * len(ids))
            rows = self._catalogue.rows(f"SELECT face_id, embedding FROM embeddings WHERE face_id IN ({marks})", ids)
            found.update((face, code) for face, code in rows)
        with trusted(self._catalogue.path):
            return read_codes([as_bytes(found[face]) for face in faces.tolist()], self._row.file.dimension)
