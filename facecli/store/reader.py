"""Read access to an index."""

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
    """An index opened for reading; a context manager whose methods may be called from any thread.

    A reader shows one state from opening to closing, whatever is written meanwhile.
    """

    def __init__(self, catalogue: Catalogue, *, keeps_state: bool = True) -> None:
        self._catalogue = catalogue
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
        self._catalogue.connection.close()

    @property
    def info(self) -> IndexInfo:
        """Summary of the index."""
        if self._info is None or not self._keeps_state:
            self._info = self._ask_info()
        return self._info

    def _ask_info(self) -> IndexInfo:
        catalogue = self._catalogue
        with catalogue.steady():
            sets = catalogue.sets()
            row, other = sets[True], sets.get(False)
            # "WHERE true" stops SQLite from counting in a single step, which no signal could interrupt.
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

    def nearest(
        self, queries: FloatArray, *, top: int, minimum: float | None, by: By, leave_out: Sequence[Labels] = ()
    ) -> list[list[Match]]:
        """The nearest faces to each query, by falling similarity, then by face id.

        `queries` is float32 (q, d) of unit length; similarity is the cosine. `top` 0 returns all faces; `minimum` is
        the lowest similarity returned. `leave_out` holds, for each query, the ids (int64) of faces to leave out, or is
        empty. `by` photo returns the best face of each photo. Raises StoreError where d is not the index's dimension.
        """
        with self._catalogue.steady():
            row = self._catalogue.sets()[True]
            vectors = np.ascontiguousarray(queries, np.float32).reshape(-1, queries.shape[-1])
            if vectors.shape[1] != row.file.dimension:
                raise StoreError(
                    f"the query embedding has {vectors.shape[1]} dimensions, the index {row.file.dimension}",
                    self._catalogue.directory,
                    hint="search with the pack that the index was made with",
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
        """The vector file of the state that this reader shows, None where it cannot be used."""
        if self._keeps_state:
            return self._codes
        codes, self.notice = open_vectors(row)
        return codes

    def _matches(self, hits: list[Hit]) -> list[Match]:
        """Look up the boxes and paths of the hits."""
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
        return Match(
            rank,
            hit.similarity,
            hit.face_id,
            self._catalogue.paths.unpack(as_bytes(path)),
            read_box(as_bytes(box)),
            as_float(score),
        )

    # stored photos and faces

    def face(self, face_id: int) -> StoredFace:
        """Return one face, with its embedding as float32 (d,); raises QueryError where there is none."""
        return self._catalogue.face(face_id)

    def photos(self, root: str = "/") -> Iterator[StoredPhoto]:
        """The photos at and below a path, ascending by path."""
        return self._catalogue.photos(root)

    def photo_paths(self, root: str) -> Iterator[str]:
        """The paths of the photos at and below a path, including those of a migration in progress."""
        return self._catalogue.photo_paths(root)

    def photo(self, photo_id: int) -> StoredPhoto | None:
        """One photo; None where there is none."""
        return self._catalogue.photo(photo_id)

    def last_photo_id(self) -> int:
        """The highest photo id; photos added later get higher ones."""
        return self._catalogue.number("SELECT max(photo_id) FROM photos")

    def photo_of(self, face_id: int) -> StoredPhoto:
        """The photo that shows a face; raises QueryError where there is no such face."""
        return self._catalogue.photo_with(face_id)

    def faces_of(self, photo_id: int) -> list[StoredFace]:
        """The faces of a photo, ascending by id."""
        return self._catalogue.faces_of(photo_id)

    def faces(self) -> Iterator[StoredFace]:
        """All faces, ascending by id; one page of them is in memory at a time."""
        return self._catalogue.faces()

    def photos_with_faces(self) -> Iterator[tuple[StoredPhoto, list[StoredFace]]]:
        """All photos, ascending by path, each with its faces, ascending by id; one page is in memory at a time."""
        return self._catalogue.photos_with_faces()

    def skips(self) -> Iterator[Skipped]:
        """The skipped files on record (`known` set), ascending by path."""
        return self._catalogue.skips()

    def load(self, photo_id: int, file: PhotoFile) -> IndexedPhoto:
        """A stored photo with its faces, as if found in `file`, which is a copy of it.

        Raises StoreError where there is no such photo.
        """
        with self._catalogue.steady():
            photo, faces = self._catalogue.photo(photo_id), self._catalogue.faces_of(photo_id)
        if photo is None:
            raise StoreError("no such photo in the index", file.path)
        return IndexedPhoto(file, photo.digest, photo.width, photo.height, _detections(faces), _embeddings(faces))

    # for index runs

    def stats_under(self, root: str) -> Iterator[FileStat]:
        """Photos and skipped files at and below a path, ascending by os.fsencode(path); `at` has the whole record.

        Read one page at a time: later paths appear in the state in which they are when they are reached.
        """
        return self._catalogue.stats_under(root)

    def at(self, path: str) -> KnownFile | None:
        """The record of one path, None where there is none."""
        return self._catalogue.at(path)

    def with_digest(self, digest: bytes) -> list[KnownFile]:
        """The photos with this content, ascending by path, without those that must be embedded again."""
        return self._catalogue.with_digest(digest)

    def shares_content(self, root: str, first: int) -> bool:
        """Whether a photo with id `first` or higher has the same content as an earlier one below a root."""
        return self._catalogue.shares_content(root, first)

    def photo_of_content(self, digest: bytes) -> int | None:
        """The id of any photo of `with_digest`, at the same cost however many there are; None where there is none."""
        return self._catalogue.photo_of_content(digest)

    def known_contents(self) -> bytes:
        """The first eight bytes of the digest of each photo, ascending: uint64, little-endian, read big-endian."""
        return self._catalogue.known_contents()

    def kept_out(self, digest: bytes) -> KeptOut:
        """What was removed of this content, and stays removed."""
        return self._catalogue.kept_out(digest)

    def kept_out_faces(self, face_ids: Sequence[int]) -> int:
        """How many of these faces were removed and stay removed."""
        known = [face_id for face_id in face_ids if face_id < 1 << 63]
        return sum(
            self._catalogue.number("SELECT count(*) FROM kept_out WHERE face_id = ?", (face_id,)) for face_id in known
        )

    def plan_removal(self, paths: Sequence[str], face_ids: Sequence[int] = ()) -> Removal:
        """What `remove` would remove: photos at and below paths, and faces.

        Raises StoreError or QueryError where one is not in the index.
        """
        with self._catalogue.steady():
            return plan_removal(self._catalogue, paths, face_ids)

    def check(self) -> Iterator[Problem]:
        """All inconsistencies in the index."""
        return check_all(self._catalogue)

    def roots(self) -> tuple[str, ...]:
        """The indexed directories, absolute, sorted."""
        return self._catalogue.roots()

    def mounts(self) -> dict[str, int | None]:
        """The mount points seen below, at and above the roots, absolute, each with the file system's device number."""
        return self._catalogue.mounts()


def open_reader(directory: str | os.PathLike[str]) -> IndexReader:
    """Open an index for reading; the reader shows one state until it is closed."""
    directory = named_directory(directory)
    path = directory / CATALOGUE
    with explained(path):
        catalogue = Catalogue(open_for_reading(path), directory)
    try:
        with explained(path):
            catalogue.version = schema_version(catalogue.connection, path)
        reader = IndexReader(catalogue)
        reader._codes, reader.notice = _settle(catalogue)  # noqa: SLF001 (this function constructs it)
    except BaseException:
        catalogue.connection.close()
        raise
    return reader


def _settle(catalogue: Catalogue) -> tuple[StoredCodes | None, str]:
    """Begin the reader's transaction, and open the vector file that belongs to its state.

    Where that file is missing, a writer replaced it between the two steps; the next state names the new one.
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
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size for entry in sorted(entries, key=lambda e: e.name)
        }


def _detections(faces: list[StoredFace]) -> Detections:
    if not faces:
        return Detections.none()
    boxes, scores = np.array([f.box for f in faces], np.float32), np.array([f.score for f in faces], np.float32)
    return Detections(
        boxes, scores, np.stack([f.landmarks for f in faces]), np.array([f.found_by for f in faces], np.uint8)
    )


def _embeddings(faces: list[StoredFace]) -> FloatArray:
    return np.stack([f.embedding for f in faces]) if faces else np.zeros((0, 0), np.float32)
