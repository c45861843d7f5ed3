"""Read access to an index."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from facecli.captures import iso_time
from facecli.config import By
from facecli.errors import IndexDamaged, StoreError
from facecli.limits import PhotoLimits
from facecli.store.catalog.connection import CATALOGUE, open_for_reading, schema_version
from facecli.store.catalog.moments import read_moments
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_float, as_int, read_box
from facecli.store.catalog.schema import CAPTURES_FROM
from facecli.store.catalog.selection import Selection
from facecli.store.catalog.sets import SetRow
from facecli.store.errors import explained, trusted
from facecli.store.locate import named_directory
from facecli.store.people.reading import StoredPeople
from facecli.store.records import (
    EVERYTHING,
    EmbeddingKind,
    IndexInfo,
    Moment,
    Problem,
    Removal,
    Scope,
    Selected,
    StoredFace,
    StoredPhoto,
)
from facecli.store.search.gpu import open_scan
from facecli.store.search.ranking import Hit, VectorScan, Wanted, find_nearest
from facecli.store.vector_file import StoredCodes, VectorsDamaged
from facecli.store.write.residue import file_size
from facecli.types import Detections, FloatArray, IndexedPhoto, Match, PhotoFile


class IndexReader(Catalogue):
    """An index opened for reading: its catalogue, and the search of its faces.

    A context manager whose methods may be called from any thread. A reader shows one state from opening to closing,
    whatever is written meanwhile.
    """

    def __init__(self, connection: sqlite3.Connection, directory: Path, *, keeps_state: bool = True) -> None:
        super().__init__(connection, directory)
        self._keeps_state = keeps_state
        self._codes: StoredCodes | None = None
        self._info: IndexInfo | None = None
        self._scan: VectorScan | None = None
        self.notice = ""
        """Why the vector file cannot be used, so that searches scan the catalogue; empty where it can."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the index."""
        self._codes = self._scan = None
        self.connection.close()

    def _settle(self) -> None:
        """Begin the reader's transaction, and open the vector file that belongs to its state.

        Where that file is missing, a writer replaced it between the two steps; the next state names the new one.
        """
        for attempt in range(3):
            with explained(self.path):
                if self.connection.in_transaction:
                    self.connection.execute("COMMIT")
                    time.sleep(0.01 * attempt)
                self.connection.execute("BEGIN")
            row = self.sets()[True]
            self.set_id = row.set_id
            self._codes, self.notice = open_vectors(row)
            if self._codes is not None or os.path.lexists(row.file.path):
                return

    @property
    def info(self) -> IndexInfo:
        """Summary of the index."""
        if self._info is None or not self._keeps_state:
            self._info = self._ask_info()
        return self._info

    def _ask_info(self) -> IndexInfo:
        with self.steady():
            sets = self.sets()
            row, other = sets[True], sets.get(False)
            # "WHERE true" stops SQLite from counting in a single step, which no signal could interrupt.
            return IndexInfo(
                directory=str(self.directory),
                photos=row.photos,
                faces=row.faces,
                skipped=self.number("SELECT count(*) FROM skips WHERE true"),
                kept_out=self.number("SELECT count(*) FROM kept_out WHERE true"),
                generation=self.number("SELECT generation FROM state"),
                epoch=row.file.epoch,
                slots=row.slots,
                holes=self.number("SELECT count(*) FROM holes WHERE set_id = ?", (row.set_id,)),
                pending=bool(self.number("SELECT pending FROM state")),
                fingerprint=row.fingerprint,
                licence=row.licence,
                model_directory=row.model_directory,
                migrating_to=EmbeddingKind(other.fingerprint, other.licence, other.model_directory) if other else None,
                schema=self.number("PRAGMA user_version"),
                sizes=_sizes(self.directory),
                part=self.part(),
            )

    # search

    def nearest(
        self, queries: FloatArray, *, top: int, minimum: float | None, by: By, scope: Scope = EVERYTHING
    ) -> list[list[Match]]:
        """The nearest faces to each query, by falling similarity, then by face id.

        `queries` is float32 (q, d) of unit length; similarity is the cosine. `top` 0 returns all faces; `minimum` is
        the lowest similarity returned, `scope` limits the faces. `by` photo returns the best face of each photo. Raises
        StoreError where d is not the index's dimension.
        """
        with self.steady():
            row = self.sets()[True]
            vectors = np.ascontiguousarray(queries, np.float32).reshape(-1, queries.shape[-1])
            if vectors.shape[1] != row.file.dimension:
                raise StoreError(
                    f"the query embedding has {vectors.shape[1]} dimensions, the index {row.file.dimension}",
                    self.directory,
                    hint="search with the pack that the index was made with",
                )
            if self._scan is None or not self._keeps_state:
                self._scan = open_scan(self, row, self._vectors(row))
            wanted = Wanted(top, minimum, by, scope)
            try:
                answers = find_nearest(self._scan, vectors, wanted)
            except VectorsDamaged as error:
                self._codes, self.notice = None, str(error)
                self._scan = open_scan(self, row, None)
                answers = find_nearest(self._scan, vectors, wanted)
            return [self._matches(hits) for hits in answers]

    @property
    def used_first_pass(self) -> bool:
        """Whether any answer so far came of a first pass by short codes, so that its recall is only measured."""
        return self._scan is not None and self._scan.used_first_pass

    def _vectors(self, row: SetRow) -> StoredCodes | None:
        """The vector file of the state that this reader shows, None where it cannot be used."""
        if self._keeps_state:
            return self._codes
        codes, self.notice = open_vectors(row)
        return codes

    def _matches(self, hits: list[Hit]) -> list[Match]:
        """Look up the boxes and paths of the hits."""
        found: dict[int, tuple[object, ...]] = {}
        taken = "taken_ms" if self.version >= CAPTURES_FROM else "NULL"
        columns = f"face_id, box, score, path, {taken}, digest"
        query = f"SELECT {columns} FROM faces JOIN photos USING (photo_id) WHERE face_id IN ?"
        for rows in self.rows_in(query, [hit.face_id for hit in hits]):
            found |= {as_int(row[0]): row for row in rows}
        with trusted(self.path):
            copies = self.count_copies({as_bytes(row[-1]) for row in found.values()})
            return [self._match(rank, hit, found[hit.face_id], copies) for rank, hit in enumerate(hits, 1)]

    def _match(self, rank: int, hit: Hit, row: tuple[object, ...], copies: Mapping[bytes, int]) -> Match:
        _, box, score, path, taken_ms, digest = row
        return Match(
            rank,
            hit.similarity,
            hit.face_id,
            self.paths.unpack(as_bytes(path)),
            read_box(as_bytes(box)),
            as_float(score),
            taken_at=iso_time(taken_ms) if isinstance(taken_ms, int) else None,
            digest=as_bytes(digest),
            copies=copies.get(as_bytes(digest), 1),
        )

    def with_times(self, matches: Sequence[Match]) -> list[Match]:
        """Matches with what else is known of their photos: when they were taken, and how many copies there are."""
        hits = [Hit(match.face_id, match.similarity) for match in matches]
        return self._matches(hits)

    def moments(self, face_ids: Sequence[int]) -> dict[int, Moment]:
        """When, with what camera and of whom faces were taken, by their ids."""
        return read_moments(self, face_ids)

    def select(self, limits: PhotoLimits) -> Selected:
        """The faces of the photos that limits allow."""
        with self.steady():
            return Selection(self, limits).faces()

    def selection(self, limits: PhotoLimits) -> Selection:
        """What limits allow."""
        return Selection(self, limits)

    def photos_within(self, limits: PhotoLimits) -> Iterator[StoredPhoto]:
        """The photos that limits allow, ascending by path."""
        return Selection(self, limits).photos()

    # stored photos

    def load(self, photo_id: int, file: PhotoFile) -> IndexedPhoto:
        """A stored photo with its faces, as if found in `file`, which is a copy of it.

        Raises StoreError where there is no such photo.
        """
        with self.steady():
            photo, faces = self.photo(photo_id), self.faces_of(photo_id)
        if photo is None:
            raise StoreError("no such photo in the index", file.path)
        found = _detections(faces), _embeddings(faces)
        return IndexedPhoto(file, photo.digest, photo.width, photo.height, *found, photo.capture)

    @property
    def people(self) -> StoredPeople:
        """The people: decisions about them, and the groups of faces."""
        return StoredPeople(self)

    def people_within(self, limits: PhotoLimits) -> StoredPeople:
        """The people of the photos that limits allow: their faces and counts there."""
        return StoredPeople(self, limits)

    def plan_removal(self, paths: Sequence[str], face_ids: Sequence[int] = ()) -> Removal:
        """What `remove` would remove: photos at and below paths, and faces.

        Raises StoreError or QueryError where one is not in the index.
        """
        from facecli.store.write.removal import plan_removal  # noqa: PLC0415 (searches do not pay for it)

        with self.steady():
            return plan_removal(self, paths, face_ids)

    def check(self) -> Iterator[Problem]:
        """All inconsistencies in the index."""
        from facecli.store.maintenance.check import check_all  # noqa: PLC0415 (as above)

        return check_all(self)


def open_reader(directory: str | os.PathLike[str]) -> IndexReader:
    """Open an index for reading; the reader shows one state until it is closed."""
    directory = named_directory(directory)
    path = directory / CATALOGUE
    with explained(path):
        reader = IndexReader(open_for_reading(path), directory)
    try:
        with explained(path):
            reader.version = schema_version(reader.connection, path)
        reader._settle()  # noqa: SLF001 (this function constructs it)
    except BaseException:
        reader.connection.close()
        raise
    return reader


def open_vectors(row: SetRow) -> tuple[StoredCodes | None, str]:
    """The codes of a set, or None and the reason why they cannot be read.

    The catalogue has a record of each slot. If there are more slots than it has bytes, both files were made to let a
    reader read or map the holes of a sparse file.
    """
    catalogue = row.file.directory / CATALOGUE
    if row.slots > file_size(catalogue) + file_size(catalogue.with_name(f"{CATALOGUE}-wal")):
        return None, f"the catalogue is too small for {row.slots} vectors: {row.file.path}"
    try:
        return row.file.read(row.slots), ""
    except IndexDamaged as error:
        return None, str(error)
    except OSError as error:
        return None, f"the vector file cannot be read ({error.strerror}): {row.file.path}"


def _sizes(directory: Path) -> dict[str, int]:
    with os.scandir(directory) as entries:
        return {name: file_size(directory / name) for name in sorted(entry.name for entry in entries)}


def _detections(faces: list[StoredFace]) -> Detections:
    if not faces:
        return Detections.none()
    boxes, scores = np.array([f.box for f in faces], np.float32), np.array([f.score for f in faces], np.float32)
    return Detections(
        boxes, scores, np.stack([f.landmarks for f in faces]), np.array([f.found_by for f in faces], np.uint8)
    )


def _embeddings(faces: list[StoredFace]) -> FloatArray:
    return np.stack([f.embedding for f in faces]) if faces else np.zeros((0, 0), np.float32)
