"""What the catalogue answers: each question one query, from any thread."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from facecli.config import Fingerprint
from facecli.errors import IndexDamaged, QueryError
from facecli.store.connection import CATALOGUE, snapshot
from facecli.store.failures import REPAIR, explained, trusted
from facecli.store.paths import StoredPaths
from facecli.store.records import FileStat, KeptOut, KnownFile, StoredFace, StoredPhoto
from facecli.store.rows import DIGEST_SIZE, as_bytes, as_float, as_int, read_box, read_boxes, read_codes, read_landmarks
from facecli.store.vectors import MAX_DIMENSION, VectorFile
from facecli.types import FloatArray, FoundBy, PhotoFile, Skipped, SkipReason

PAGE = 4096
FACE_PAGE = 1024
PHOTO_PAGE = 256
Row = tuple[object, ...]
_FACE = "f.face_id, p.path, f.box, f.score, f.found_by, f.landmarks, e.embedding, f.photo_id"
_FACES = f"SELECT {_FACE} FROM faces f JOIN photos p USING (photo_id) JOIN embeddings e USING (face_id)"
PHOTO_COLUMNS = "path, photo_id, size, mtime_ns, digest, width, height, (SELECT count(*) FROM faces f WHERE f.photo_id = p.photo_id)"
"""The columns of a StoredPhoto, of a table `photos p`."""
_PHOTOS = f"SELECT {PHOTO_COLUMNS} FROM photos p"


class SetRow(Struct, frozen=True):
    """One set of embeddings: the current one, or that which a migration builds."""

    set_id: int
    fingerprint: Fingerprint
    licence: str
    model_directory: str | None
    file: VectorFile
    slots: int
    photos: int
    faces: int


class Catalogue:
    """The questions that a reader asks of a connection; `set_id` picks the set that they are about."""

    def __init__(self, connection: sqlite3.Connection, directory: Path) -> None:
        self.connection = connection
        self.directory = directory
        self.path = directory / CATALOGUE
        self.paths = StoredPaths(directory)
        self.set_id = 0
        self._lock = threading.RLock()
        self._key = b""

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """All rows of a query."""
        with self._lock, explained(self.path):
            return self.connection.execute(query, parameters).fetchall()

    def number(self, query: str, parameters: Sequence[object] = ()) -> int:
        """The one number that a query gives; 0 where it gives none."""
        rows = self.rows(query, parameters)
        with trusted(self.path):
            return int(rows[0][0] or 0) if rows else 0  # type: ignore[call-overload]

    @contextmanager
    def steady(self) -> Iterator[None]:
        """One state of the catalogue for all that is asked inside."""
        with self._lock, explained(self.path), snapshot(self.connection):
            yield

    # what an index is

    def sets(self) -> dict[bool, SetRow]:
        """The sets by whether they are current."""
        rows = self.rows("SELECT current, set_id, fingerprint, licence, model_directory, epoch, mark, slots, photos, faces FROM sets LIMIT 3")
        with trusted(self.path):
            found = {bool(row[0]): self._set(row) for row in rows}
        if True not in found:
            raise IndexDamaged("the catalogue names no set of embeddings", self.path, hint=REPAIR)
        return found

    def _set(self, row: Row) -> SetRow:
        _, set_id, fingerprint, licence, model_directory, epoch, mark, slots, photos, faces = row
        kind = Fingerprint.from_record(json.loads(str(fingerprint)))
        named = None if model_directory is None else self.paths.unpack(as_bytes(model_directory))
        if not 0 < kind.dimension <= MAX_DIMENSION or len(as_bytes(mark)) != 16 or as_int(epoch) < 0 or not 0 <= as_int(slots) < 1 << 40:
            raise ValueError("no set of embeddings")
        file = VectorFile(self.directory, as_int(epoch), as_bytes(mark), kind.dimension)
        return SetRow(as_int(set_id), kind, str(licence), named, file, as_int(slots), as_int(photos), as_int(faces))

    def holes(self, set_id: int) -> list[int]:
        """The slots that no face holds any more."""
        return [as_int(slot) for (slot,) in self.rows("SELECT slot FROM holes WHERE set_id = ?", (set_id,))]

    # what is known of files

    def under(self, root: str) -> Iterator[KnownFile]:
        """Photos and skips at and below a path, in the order of the paths."""
        for low, high in self.paths.ranges(root):
            skips = self._pages("SELECT path, size, mtime_ns, reason, detail, refused_by FROM skips WHERE path >= ? AND path < ?", (), low, high)
            photos = self._pages(
                "SELECT path, size, mtime_ns, photo_id, digest, again FROM photos WHERE set_id = ? AND path >= ? AND path < ?",
                (self.set_id,),
                low,
                high,
            )
            yield from self._merge(photos, skips)

    def stats_under(self, root: str) -> Iterator[FileStat]:
        """The paths of `under` as plain rows, a fifth of the cost, which a run over unchanged files needs to see by the million."""
        for low, high in self.paths.ranges(root):
            before = b"" if low.startswith(b"/") else self.paths.base
            skips: Iterator[Any] = self._pages("SELECT path FROM skips WHERE path >= ? AND path < ?", (), low, high)
            query = "SELECT path, size, mtime_ns, photo_id, again FROM photos WHERE set_id = ? AND path >= ? AND path < ?"
            photos: Iterator[Any] = self._pages(query, (self.set_id,), low, high)
            with trusted(self.path):
                (skip,) = next(skips, (None,))
                for path, size, mtime_ns, photo_id, again in photos:
                    while skip is not None and skip < path:
                        yield before + skip, -1, -1, None
                        (skip,) = next(skips, (None,))
                    if skip == path:
                        again = True  # noqa: PLW2901 (a skipped file is to be looked up whole, as one to be embedded again is)
                        (skip,) = next(skips, (None,))
                    yield before + path, -1 if again else size, mtime_ns, photo_id
                while skip is not None:
                    yield before + skip, -1, -1, None
                    (skip,) = next(skips, (None,))

    def _pages(self, query: str, first: tuple[object, ...], low: bytes, high: bytes) -> Iterator[Row]:
        """The rows of a range of paths, read a page at a time, so that no reading is open while a batch is committed."""
        while True:
            page = self.rows(f"{query} ORDER BY path LIMIT {PAGE}", (*first, low, high))
            yield from page
            if len(page) < PAGE:
                return
            low = as_bytes(page[-1][0]) + b"\0"

    def _merge(self, photos: Iterator[Row], skips: Iterator[Row]) -> Iterator[KnownFile]:
        skip = next(skips, None)
        for row in photos:
            while skip is not None and skip[0] < row[0]:  # type: ignore[operator]
                yield self._known_skip(skip)
                skip = next(skips, None)
            known = self._known_photo(row)
            if skip is not None and skip[0] == row[0]:
                known.skip = self._skip(skip)
                known.file = known.skip.file
                skip = next(skips, None)
            yield known
        while skip is not None:
            yield self._known_skip(skip)
            skip = next(skips, None)

    def _known_photo(self, row: Row) -> KnownFile:
        path, size, mtime_ns, photo_id, digest, again = row
        with trusted(self.path):
            if again:
                return KnownFile(as_int(photo_id), PhotoFile(self.paths.unpack(as_bytes(path)), -1, -1), b"", None, True)  # noqa: FBT003 (a record)
            return KnownFile(as_int(photo_id), PhotoFile(self.paths.unpack(as_bytes(path)), as_int(size), as_int(mtime_ns)), as_bytes(digest))

    def _known_skip(self, row: Row) -> KnownFile:
        skip = self._skip(row)
        return KnownFile(None, skip.file, b"", skip)

    def _skip(self, row: Row) -> Skipped:
        path, size, mtime_ns, reason, detail, refused_by = row
        with trusted(self.path):
            file = PhotoFile(self.paths.unpack(as_bytes(path)), as_int(size), as_int(mtime_ns))
            return Skipped(file, SkipReason(str(reason)), str(detail), str(refused_by), known=True)

    def at(self, path: str) -> KnownFile | None:
        """What is known of one path."""
        stored = self.paths.pack(path)
        query = "SELECT path, size, mtime_ns, photo_id, digest, again FROM photos WHERE set_id = ? AND path = ?"
        photos = self.rows(query, (self.set_id, stored))
        skips = self.rows("SELECT path, size, mtime_ns, reason, detail, refused_by FROM skips WHERE path = ?", (stored,))
        return next(self._merge(iter(photos), iter(skips)), None)

    def with_digest(self, digest: bytes) -> list[KnownFile]:
        """The photos with this content, ascending by path."""
        query = "SELECT path, size, mtime_ns, photo_id, digest, again FROM photos WHERE digest = ? AND set_id = ? AND NOT again"
        found = [self._known_photo(row) for row in self.rows(query, (digest, self.set_id))]
        return sorted(found, key=lambda known: os.fsencode(known.file.path)) if len(found) > 1 else found

    def skips(self) -> Iterator[Skipped]:
        """The recorded skips, ascending by path."""
        for low, high in self.paths.ranges("/"):
            query = "SELECT path, size, mtime_ns, reason, detail, refused_by FROM skips WHERE path >= ? AND path < ?"
            yield from map(self._skip, self._pages(query, (), low, high))

    def roots(self, *, mounts: bool) -> tuple[str, ...]:
        """The roots, or the mount points below them."""
        rows = self.rows("SELECT path FROM roots WHERE mount = ?", (int(mounts),))
        return tuple(sorted((self.paths.unpack(as_bytes(path)) for (path,) in rows), key=os.fsencode))

    # photos and faces

    def photos(self, root: str = "/") -> Iterator[StoredPhoto]:
        """The photos at and below a path, ascending by path."""
        yield from self.photos_of(f"{_PHOTOS} WHERE set_id = ? AND path >= ? AND path < ?", (self.set_id,), root)

    def photos_of(self, query: str, parameters: tuple[object, ...], root: str = "/") -> Iterator[StoredPhoto]:
        """The photos of a query for PHOTO_COLUMNS whose last two parameters are a range of paths."""
        for low, high in self.paths.ranges(root):
            yield from map(self._photo, self._pages(query, parameters, low, high))

    def photo(self, photo_id: int) -> StoredPhoto | None:
        """One photo, of any set."""
        rows = self.rows(f"{_PHOTOS} WHERE photo_id = ?", (photo_id,))
        return self._photo(rows[0]) if rows else None

    def _photo(self, row: Row) -> StoredPhoto:
        path, photo_id, size, mtime_ns, digest, width, height, faces = row
        with trusted(self.path):
            file = PhotoFile(self.paths.unpack(as_bytes(path)), as_int(size), as_int(mtime_ns))
            if len(as_bytes(digest)) != DIGEST_SIZE:
                raise ValueError("no digest")
            return StoredPhoto(as_int(photo_id), file, as_bytes(digest), as_int(width), as_int(height), as_int(faces))

    def photo_of(self, face_id: int) -> int:
        """The id of a face's photo; 0 where there is no such face."""
        return self.number("SELECT photo_id FROM faces WHERE face_id = ?", (face_id,))

    def face(self, face_id: int) -> StoredFace:
        """One face; raises QueryError where there is none."""
        known = -(1 << 63) <= face_id < 1 << 63
        rows = self.rows(f"{_FACES} WHERE f.face_id = ? AND f.set_id = ?", (face_id, self.set_id)) if known else []
        if not rows:
            raise QueryError("no such face in the index", f"face:{face_id}")
        return self._face(rows[0])

    def faces_of(self, photo_id: int) -> list[StoredFace]:
        """The faces of a photo, ascending by id."""
        return [self._face(row) for row in self.rows(f"{_FACES} WHERE f.photo_id = ? ORDER BY f.face_id", (photo_id,))]

    def faces(self) -> Iterator[StoredFace]:
        """All faces, ascending by id, read a page at a time."""
        after = 0
        while page := self.rows(f"{_FACES} WHERE f.set_id = ? AND f.face_id > ? ORDER BY f.face_id LIMIT {FACE_PAGE}", (self.set_id, after)):
            yield from map(self._face, page)
            after = as_int(page[-1][0])

    def photos_with_faces(self) -> Iterator[tuple[StoredPhoto, list[StoredFace]]]:
        """All photos, ascending by path, with their faces, ascending by id; read a page at a time."""
        photos = self.photos()
        while page := list(itertools.islice(photos, PHOTO_PAGE)):
            marks = ",".join("?" * len(page))
            rows = self.rows(f"{_FACES} WHERE f.photo_id IN ({marks}) ORDER BY f.face_id", [photo.photo_id for photo in page])
            faces: dict[int, list[StoredFace]] = {photo.photo_id: [] for photo in page}
            for row in rows:
                faces[as_int(row[-1])].append(self._face(row))
            yield from ((photo, faces[photo.photo_id]) for photo in page)

    def _face(self, row: Row) -> StoredFace:
        face_id, path, box, score, found_by, landmarks, embedding, _ = row
        with trusted(self.path):
            codes = read_codes([as_bytes(embedding)], len(as_bytes(embedding)) // 2)
            marks = read_landmarks(as_bytes(landmarks))
            numbers: FloatArray = codes[0].astype("float32")
            return StoredFace(
                as_int(face_id),
                self.paths.unpack(as_bytes(path)),
                read_box(as_bytes(box)),
                as_float(score),
                FoundBy(as_int(found_by)),
                marks,
                numbers,
            )

    # what is kept out

    def token(self, digest: bytes) -> bytes:
        """The keyed hash that stands for a content which `remove` keeps out."""
        if not self._key:
            rows = self.rows("SELECT keep_out_key FROM state")
            with trusted(self.path):
                self._key = as_bytes(rows[0][0])[:64]
        import hashlib  # noqa: PLC0415  # it loads OpenSSL, and a search hashes nothing

        return hashlib.blake2b(digest, key=self._key, digest_size=16).digest()

    def kept_out(self, digest: bytes) -> KeptOut:
        """What `remove` keeps out of this content."""
        rows = self.rows("SELECT box FROM kept_out WHERE token = ?", (self.token(digest),))
        with trusted(self.path):
            boxes = read_boxes([as_bytes(box) for (box,) in rows if box is not None])
        return KeptOut(any(box is None for (box,) in rows), boxes)
