"""Scans over all codes of a set with numpy: of the vector file, or of the catalogue without a usable file."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import are_unit, as_bytes, as_int, read_codes
from facecli.store.catalog.sets import SetRow
from facecli.store.errors import trusted
from facecli.store.records import Labels
from facecli.store.search.ranking import (
    SLACK,
    Found,
    Identified,
    Wanted,
    in_portions,
    pick_best,
    similarities,
)
from facecli.store.vector_file import BLOCK, Codes, StoredCodes
from facecli.types import FloatArray

FAISS_FROM = 150_000
"""The number of slots from which FAISS answers one query faster than numpy, including its import of about 80 ms."""
FEW = 8
"""Slots are read one by one where they are less than one in so many."""
MANY = 32
"""The number of queries from which products of blocks of codes with all queries are faster than separate scans."""
_MOST_FOUND = 1 << 22
"""The most candidates that are found at once, over all queries."""


class FileScan:
    """Scan the vector file with numpy; labels are slots."""

    def __init__(self, catalogue: Catalogue, row: SetRow, codes: StoredCodes) -> None:
        self.total = row.slots
        self.used_first_pass = False
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

    def best(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        among = wanted.scope.among
        if among is not None and len(among) * FEW < self.total:
            return self._best_of(np.unique(_within(among, self.total)), queries, count)
        if len(queries) >= MANY and len(queries) * count <= _MOST_FOUND:
            return self._best_by_products(queries, count, wanted)
        return in_portions(queries, self.total, lambda some: self._best_by_numpy(some, count, among))

    def _best_of(self, slots: Labels, queries: FloatArray, count: int) -> list[Found]:
        """The best of a few slots, of which only their codes are read; holes are among them."""
        codes = self._codes.at(slots)
        found = in_portions(
            queries, len(slots), lambda some: pick_best(similarities(iter([(0, codes)]), some, len(slots)), count)
        )
        return [(slots[places], rough) for places, rough in found]

    def _best_by_numpy(self, queries: FloatArray, count: int, among: Labels | None) -> list[Found]:
        rough = similarities(self._codes.blocks(), queries, self.total)
        rough[:, ~self.held(among)] = -np.inf
        return pick_best(rough, count)

    def _best_by_products(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        """Read the file once for all queries."""
        from facecli.similarity.nearest import Stored, nearest  # noqa: PLC0415 (few queries need no products)

        among, least = wanted.scope.among, -1.0 if wanted.minimum is None else wanted.minimum - SLACK
        held = None if among is None else self.held(among)

        def read(first: int, length: int) -> Codes:
            codes = self._codes.block(first, length)
            if held is not None:
                codes[~held[first : first + length]] = 0
            return codes

        labels, rough = nearest(queries, Stored(self.total, read), count, least)
        return [(row[row >= 0], values[row >= 0]) for row, values in zip(labels, rough, strict=True)]

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
            parts = list(self._catalogue.rows_in(f"{query} AND slot IN ?", slots, set_id))
        with trusted(self._catalogue.path):
            for rows in parts:
                yield from ((as_int(slot), as_int(face_id), as_int(photo_id)) for slot, face_id, photo_id in rows)


def _within(slots: Labels, total: int) -> Labels:
    """The slots, int64 (n,), that are from 0 to `total`; a damaged catalogue can name others."""
    return slots[(slots >= 0) & (slots < total)]


def _sane(found: Identified) -> Identified:
    """Set the face id to -1 where the code is not of unit length, since its similarity would be meaningless."""
    return replace(found, face_ids=np.where(are_unit(found.codes), found.face_ids, -1))


class CatalogueScan:
    """Scan the embeddings in the catalogue with numpy; labels are positions in the order of face ids."""

    used_first_pass = False

    def __init__(self, catalogue: Catalogue, row: SetRow) -> None:
        self._catalogue = catalogue
        self._row = row
        query = "SELECT face_id, photo_id, slot FROM faces WHERE set_id = ? ORDER BY face_id"
        rows = catalogue.rows(query, (row.set_id,))
        with trusted(catalogue.path):
            numbers = np.array([[as_int(number) for number in row] for row in rows], np.int64).reshape(len(rows), 3)
        self._faces, self._photos, self._slots = numbers.T
        self.total = len(numbers)

    def best(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        return in_portions(queries, self.total, lambda some: self._best(some, count, wanted.scope.among))

    def _best(self, queries: FloatArray, count: int, among: Labels | None) -> list[Found]:
        rough = similarities(self._blocks(), queries, self.total)
        if among is not None:
            rough[:, ~np.isin(self._slots, among)] = -np.inf
        return pick_best(rough, count)

    def identify(self, labels: Labels) -> Identified:
        faces = self._faces[labels]
        return _sane(Identified(faces, self._photos[labels], self._read(faces)))

    def _blocks(self) -> Iterator[tuple[int, Codes]]:
        step = max(1, BLOCK // self._row.file.code_size)
        for start in range(0, self.total, step):
            yield start, self._read(self._faces[start : start + step])

    def _read(self, faces: Labels) -> Codes:
        """The codes float16 (n, d) of faces, int64 (n,); raises IndexDamaged where one is missing."""
        query, ids = "SELECT face_id, embedding FROM embeddings WHERE face_id IN ?", faces.tolist()
        found = {face: code for rows in self._catalogue.rows_in(query, ids) for face, code in rows}
        with trusted(self._catalogue.path):
            return read_codes([as_bytes(found[face]) for face in ids], self._row.file.dimension)
