"""An index that is read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from facecli.config import By
from facecli.errors import IndexDamaged, StoreError
from facecli.store.catalog.connection import CATALOGUE, open_for_reading, schema_version
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_float, as_int, read_box
from facecli.store.catalog.sets import SetRow
from facecli.store.errors import explained, trusted
from facecli.store.locate import named_directory
from facecli.store.maintenance.check import check_all
from facecli.store.records import FileStat, IndexInfo, KeptOut, KnownFile, Problem, Removal, StoredFace, StoredPhoto
from facecli.store.search.gpu import open_scan
from facecli.store.search.ranking import Hit, Labels, VectorScan, Wanted, find_nearest
from facecli.store.vector_file import StoredCodes, VectorsDamaged
from facecli.store.write.removal import plan_removal
from facecli.store.write.residue import file_size
from facecli.types import Detections, FloatArray, IndexedPhoto, Match, PhotoFile, Skipped


class IndexReader:
    """An index that is read; a context manager. Its methods may be called from any thread.

    A reader shows one state from its opening to its end, whatever is written meanwhile.
    """

    def __init__(self, catalogue: Catalogue, *, keeps_state: bool = True) -> None:
        self._catalogue = catalogue
        self._keeps_state = keeps_state
        self._codes: StoredCodes | None = None
        self._info: IndexInfo | None = None
        self._scan: VectorScan | None = None
        self.notice = ""
        """Why the vector file cannot be used, so that a search scans the catalogue; empty where it can."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the index."""
        self._codes = self._scan = None
        self._catalogue.connection.close()

    @property
    def info(self) -> IndexInfo:
        """The index at a glance."""
        if self._info is None or not self._keeps_state:
            self._info = self._ask_info()
        return self._info

    def _ask_info(self) -> IndexInfo:
        catalogue = self._catalogue
        with catalogue.steady():
            sets = catalogue.sets()
            row, other = sets[True], sets.get(False)
            # "WHERE true" keeps SQLite from counting in one step, in which no signal would reach it.
            return IndexInfo(
                directory=str(catalogue.directory),
                photos=row.photos,
                faces=row.faces,
                skipped=catalogue.number("SELECT count(*) FROM skips WHERE true"),
                kept_out=catalogue.number("SELECT count(*) FROM kept_out WHERE true"),
                generation=catalogue.number("SELECT generation FROM state"),
                epoch=row.file.epoch,
                slots=row.slots,
                holes=catalogue.number("SELECT count(*) FROM holes WHERE set_id = ?", (row.set_id,)),
                pending=bool(catalogue.number("SELECT pending FROM state")),
                fingerprint=row.fingerprint,
                licence=row.licence,
                model_directory=row.model_directory,
                migrating_to=other.fingerprint if other else None,
                schema=catalogue.number("PRAGMA user_version"),
                sizes=_sizes(catalogue.directory),
            )

    # search

    def nearest(self, queries: FloatArray, *, top: int, minimum: float | None, by: By, leave_out: Sequence[Labels] = ()) -> list[list[Match]]:
        """The nearest faces to each query, similarity falling, then face id.

        `queries` is float32 (q, d), unit length. `top` 0 gives all. `leave_out` has the ids of the faces that must not answer, for each
        query, or is empty. `by` photo gives the best face of each photo.
        """
        with self._catalogue.steady():
            row = self._catalogue.sets()[True]
            vectors = np.ascontiguousarray(queries, np.float32).reshape(-1, queries.shape[-1])
            if vectors.shape[1] != row.file.dimension:
                raise StoreError(
                    f"the query has {vectors.shape[1]} numbers, the index {row.file.dimension} a face",
                    self._catalogue.directory,
                    hint="search with the model that the index was made with",
                )
            if self._scan is None or not self._keeps_state:
                self._scan = open_scan(self._catalogue, row, self._vectors(row))
            wanted = Wanted(top, minimum, by)
            try:
                answers = find_nearest(self._scan, vectors, wanted, leave_out)
            except VectorsDamaged as error:
                self._codes, self.notice = None, str(error)
                self._scan = open_scan(self._catalogue, row, None)
                answers = find_nearest(self._scan, vectors, wanted, leave_out)
            return [self._matches(hits) for hits in answers]

    def _vectors(self, row: SetRow) -> StoredCodes | None:
        """The vector file of the state that this reader shows."""
        if self._keeps_state:
            return self._codes
        codes, self.notice = open_vectors(row)
        return codes

    def _matches(self, hits: list[Hit]) -> list[Match]:
        """Look up box and path of the faces that are given out."""
        found: dict[int, tuple[object, ...]] = {}
        query = "SELECT face_id, box, score, path FROM faces JOIN photos USING (photo_id) WHERE face_id IN"
        for i in range(0, len(hits), 500):
            ids = [hit.face_id for hit in hits[i : i + 500]]
            rows = self._catalogue.rows(f"{query} ({','.join('?' * len(ids))})", ids)
            found |= {as_int(row[0]): row for row in rows}
        with trusted(self._catalogue.path):
            return [self._match(rank, hit, found[hit.face_id]) for rank, hit in enumerate(hits, 1)]

    def _match(self, rank: int, hit: Hit, row: tuple[object, ...]) -> Match:
        _, box, score, path = row
        return Match(rank, hit.similarity, hit.face_id, self._catalogue.paths.unpack(as_bytes(path)), read_box(as_bytes(box)), as_float(score))

    # what is stored

    def face(self, face_id: int) -> StoredFace:
        """One face; raises QueryError where there is none."""
        return self._catalogue.face(face_id)

    def photos(self, root: str = "/") -> Iterator[StoredPhoto]:
        """The photos at and below a path, ascending by path."""
        return self._catalogue.photos(root)

    def photo_paths(self, root: str) -> Iterator[str]:
        """The paths of the photos below a path, those of a migration too."""
        return self._catalogue.photo_paths(root)

    def photo(self, photo_id: int) -> StoredPhoto | None:
        """One photo."""
        return self._catalogue.photo(photo_id)

    def last_photo_id(self) -> int:
        """The highest id of a photo; those that come later get higher ones."""
        return self._catalogue.number("SELECT max(photo_id) FROM photos")

    def photo_of(self, face_id: int) -> StoredPhoto:
        """The photo that shows a face; raises QueryError where there is no such face."""
        return self._catalogue.photo_with(face_id)

    def faces_of(self, photo_id: int) -> list[StoredFace]:
        """The faces of a photo, ascending by id."""
        return self._catalogue.faces_of(photo_id)

    def faces(self) -> Iterator[StoredFace]:
        """All faces, ascending by id; in memory stands a page of them."""
        return self._catalogue.faces()

    def photos_with_faces(self) -> Iterator[tuple[StoredPhoto, list[StoredFace]]]:
        """All photos, ascending by path, each with its faces, ascending by id; in memory stands a page of them."""
        return self._catalogue.photos_with_faces()

    def skips(self) -> Iterator[Skipped]:
        """The recorded skips (`known` set), ascending by path."""
        return self._catalogue.skips()

    def load(self, photo_id: int, file: PhotoFile) -> IndexedPhoto:
        """A stored photo with its faces as if found in `file`: for a copy of it."""
        with self._catalogue.steady():
            photo, faces = self._catalogue.photo(photo_id), self._catalogue.faces_of(photo_id)
        if photo is None:
            raise StoreError("no such photo in the index", file.path)
        return IndexedPhoto(file, photo.digest, photo.width, photo.height, _detections(faces), _embeddings(faces))

    # what an index run asks

    def stats_under(self, root: str) -> Iterator[FileStat]:
        """The paths at or below a path, ascending by os.fsencode(path), photos and skips together; `at` tells all that is known of one.

        Read a page at a time: paths beyond the one reached are given as they are when they are reached.
        """
        return self._catalogue.stats_under(root)

    def at(self, path: str) -> KnownFile | None:
        """What is known of one path."""
        return self._catalogue.at(path)

    def with_digest(self, digest: bytes) -> list[KnownFile]:
        """The photos with this content, ascending by path; none that must be embedded again."""
        return self._catalogue.with_digest(digest)

    def shares_content(self, root: str, first: int) -> bool:
        """Whether a photo from the id `first` on has the content of an earlier one below a root."""
        return self._catalogue.shares_content(root, first)

    def photo_of_content(self, digest: bytes) -> int | None:
        """The id of any one photo of `with_digest`, at the same cost however many there are; None where there is none."""
        return self._catalogue.photo_of_content(digest)

    def kept_out(self, digest: bytes) -> KeptOut:
        """What `remove` keeps out of this content."""
        return self._catalogue.kept_out(digest)

    def kept_out_faces(self, face_ids: Sequence[int]) -> int:
        """How many of these faces `remove` keeps out."""
        known = [face_id for face_id in face_ids if face_id < 1 << 63]
        return sum(self._catalogue.number("SELECT count(*) FROM kept_out WHERE face_id = ?", (face_id,)) for face_id in known)

    def plan_removal(self, paths: Sequence[str], face_ids: Sequence[int] = ()) -> Removal:
        """What `remove` would take out: photos at and below paths, and faces; raises StoreError where one is not in the index."""
        with self._catalogue.steady():
            return plan_removal(self._catalogue, paths, face_ids)

    def check(self) -> Iterator[Problem]:
        """Everything that does not agree in the index."""
        return check_all(self._catalogue)

    def roots(self) -> tuple[str, ...]:
        """The directories that were indexed, absolute, sorted."""
        return self._catalogue.roots()

    def mounts(self) -> dict[str, int | None]:
        """The mount points that were seen below, at and above them, absolute, each with the number of the file system that was there."""
        return self._catalogue.mounts()


def open_reader(directory: str | os.PathLike[str]) -> IndexReader:
    """Open an index for reading; it shows one state until it is closed."""
    directory = named_directory(directory)
    path = directory / CATALOGUE
    with explained(path):
        catalogue = Catalogue(open_for_reading(path), directory)
    try:
        with explained(path):
            catalogue.version = schema_version(catalogue.connection, path)
        reader = IndexReader(catalogue)
        reader._codes, reader.notice = _settle(catalogue)  # noqa: SLF001 (its own maker)
    except BaseException:
        catalogue.connection.close()
        raise
    return reader


def _settle(catalogue: Catalogue) -> tuple[StoredCodes | None, str]:
    """Begin the state that a reader shows, with the vector file that belongs to it.

    Where that file is gone, it was replaced between the two steps, and the next state names another.
    """
    for attempt in range(3):
        with explained(catalogue.path):
            if catalogue.connection.in_transaction:
                catalogue.connection.execute("COMMIT")
                time.sleep(0.01 * attempt)
            catalogue.connection.execute("BEGIN")
        row = catalogue.sets()[True]
        catalogue.set_id = row.set_id
        codes, notice = open_vectors(row)
        if codes is not None or os.path.lexists(row.file.path):
            break
    return codes, notice


def open_vectors(row: SetRow) -> tuple[StoredCodes | None, str]:
    """The codes of a set, or None and the reason.

    The catalogue has a record of each slot: with more slots than it has bytes, both were made to have somebody read or map holes of a sparse file.
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
        return {entry.name: entry.stat(follow_symlinks=False).st_size for entry in sorted(entries, key=lambda e: e.name)}


def _detections(faces: list[StoredFace]) -> Detections:
    if not faces:
        return Detections.none()
    boxes, scores = np.array([f.box for f in faces], np.float32), np.array([f.score for f in faces], np.float32)
    return Detections(boxes, scores, np.stack([f.landmarks for f in faces]), np.array([f.found_by for f in faces], np.uint8))


def _embeddings(faces: list[StoredFace]) -> FloatArray:
    return np.stack([f.embedding for f in faces]) if faces else np.zeros((0, 0), np.float32)
