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
from facecli.errors import IndexDamaged, QueryError, StoreError
from facecli.store.connection import CATALOGUE, snapshot
from facecli.store.failures import REPAIR, explained, trusted
from facecli.store.paths import StoredPaths
from facecli.store.records import FileStat, KeptOut, KnownFile, StoredFace, StoredPhoto
from facecli.store.rows import DIGEST_SIZE, are_unit, as_bytes, as_count, as_float, as_int, read_box, read_boxes, read_codes, read_landmarks
from facecli.store.schema import CHANGES_FROM, MIGRATIONS
from facecli.store.vectors import VectorFile
from facecli.types import FloatArray, FoundBy, PhotoFile, Skipped, SkipReason

PAGE = 4096
MANY = 1_000_000
"""Rows from which on it is asked whether a file of this size can hold so many."""
LONGEST_LICENCE = 500
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
        self.version = len(MIGRATIONS)
        self.set_id = 0
        self._lock = threading.RLock()
        self._key = b""

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """All rows of a query."""
        with self._lock, explained(self.path):
            cursor = self.connection.execute(query, parameters)
            found = cursor.fetchmany(MANY)
            return found if len(found) < MANY else [*found, *self._rest(cursor)]

    def _rest(self, cursor: sqlite3.Cursor) -> list[Row]:
        """What comes after many rows; raises IndexDamaged where it does not end: pages that name each other give more rows than they have bytes."""
        size = self.connection.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").fetchone()[0]
        most = min(int(size), (1 << 31) - 1)
        found = cursor.fetchmany(most)
        if len(found) == most:
            raise IndexDamaged("the catalogue holds more rows than it has bytes", self.path, hint=REPAIR)
        return found

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
        kind = self._fingerprint(str(fingerprint))
        named = None if model_directory is None else self.paths.unpack(as_bytes(model_directory))
        if len(as_bytes(mark)) != 16 or as_count(epoch) != epoch or as_count(slots) != slots:
            raise ValueError("no set of embeddings")
        file = VectorFile(self.directory, as_int(epoch), as_bytes(mark), kind.dimension)
        return SetRow(as_int(set_id), kind, str(licence)[:LONGEST_LICENCE], named, file, as_int(slots), as_count(photos), as_count(faces))

    def _fingerprint(self, text: str) -> Fingerprint:
        record = json.loads(text)
        if not isinstance(record, dict):
            raise TypeError("no settings")
        if unknown := Fingerprint.unknown(record):
            hint = "use the facecli that made it, or -i DIR for another index"
            raise StoreError(f"the index has settings of a newer facecli ({', '.join(unknown)[:80]})", self.path, hint=hint)
        return Fingerprint.from_record(record)

    def holes(self, set_id: int) -> list[int]:
        """The slots that no face holds any more."""
        return [as_int(slot) for (slot,) in self.rows("SELECT slot FROM holes WHERE set_id = ?", (set_id,))]

    # what is known of files

    @property
    def _stat(self) -> str:
        """The columns that tell whether a file is what it was."""
        return "size, mtime_ns, ctime_ns, inode" if self.version >= CHANGES_FROM else "size, mtime_ns, NULL, NULL"

    def under(self, root: str) -> Iterator[KnownFile]:
        """Photos and skips at and below a path, in the order of the paths."""
        for low, high in self.paths.ranges(root):
            skips = self._pages(f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips WHERE path >= ? AND path < ?", (), low, high)
            query = f"SELECT path, {self._stat}, photo_id, digest, again FROM photos WHERE set_id = ? AND path >= ? AND path < ?"
            photos = self._pages(query, (self.set_id,), low, high)
            yield from self._merge(photos, skips)

    def stats_under(self, root: str) -> Iterator[FileStat]:
        """The paths of `under` as plain rows, a fifth of the cost, which a run over unchanged files needs to see by the million."""
        for low, high in self.paths.ranges(root):
            before = b"" if low.startswith(b"/") else self.paths.base
            skips: Iterator[Any] = self._pages("SELECT path FROM skips WHERE path >= ? AND path < ?", (), low, high)
            query = f"SELECT path, {self._stat}, photo_id, again FROM photos WHERE set_id = ? AND path >= ? AND path < ?"
            photos: Iterator[Any] = self._pages(query, (self.set_id,), low, high)
            with trusted(self.path):
                (skip,) = next(skips, (None,))
                for path, size, mtime_ns, ctime_ns, inode, photo_id, again in photos:
                    while skip is not None and skip < path:
                        yield before + skip, -1, -1, None, None, None
                        (skip,) = next(skips, (None,))
                    if skip == path:
                        again = True  # noqa: PLW2901 (a skipped file is to be looked up whole, as one to be embedded again is)
                        (skip,) = next(skips, (None,))
                    if b"\0" in path:
                        raise ValueError("no path")
                    yield before + path, -1 if again else size, mtime_ns, ctime_ns, inode, photo_id
                while skip is not None:
                    yield before + skip, -1, -1, None, None, None
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
        *file, photo_id, digest, again = row
        with trusted(self.path):
            if again:
                return KnownFile(as_int(photo_id), PhotoFile(self.paths.unpack(as_bytes(file[0])), -1, -1), b"", None, True)  # noqa: FBT003 (a record)
            return KnownFile(as_int(photo_id), self._file(*file), as_bytes(digest))

    def _file(self, path: object, size: object, mtime_ns: object, *change: object) -> PhotoFile:
        """A file as it is on record; `change` are its time of change and inode, both None where they are not known."""
        known = () if None in change else map(as_int, change)
        return PhotoFile(self.paths.unpack(as_bytes(path)), as_int(size), as_int(mtime_ns), *known)

    def _known_skip(self, row: Row) -> KnownFile:
        skip = self._skip(row)
        return KnownFile(None, skip.file, b"", skip)

    def _skip(self, row: Row) -> Skipped:
        *file, reason, detail, refused_by = row
        with trusted(self.path):
            return Skipped(self._file(*file), SkipReason(str(reason)), str(detail), str(refused_by), known=True)

    def at(self, path: str) -> KnownFile | None:
        """What is known of one path."""
        stored = self.paths.pack(path)
        query = f"SELECT path, {self._stat}, photo_id, digest, again FROM photos WHERE set_id = ? AND path = ?"
        photos = self.rows(query, (self.set_id, stored))
        skips = self.rows(f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips WHERE path = ?", (stored,))
        return next(self._merge(iter(photos), iter(skips)), None)

    def with_digest(self, digest: bytes) -> list[KnownFile]:
        """The photos with this content, ascending by path."""
        query = f"SELECT path, {self._stat}, photo_id, digest, again FROM photos WHERE digest = ? AND set_id = ? AND NOT again"
        found = [self._known_photo(row) for row in self.rows(query, (digest, self.set_id))]
        return sorted(found, key=lambda known: os.fsencode(known.file.path)) if len(found) > 1 else found

    def shares_content(self, root: str, first: int) -> bool:
        """Whether a photo from the id `first` on has the content of an earlier one below a root."""
        # Left to itself SQLite would walk over all photos for n, and over all below the root for each of them.
        earlier = "photos o INDEXED BY photos_by_digest WHERE o.digest = n.digest AND o.set_id = n.set_id AND o.photo_id < ?"
        late = f"photos n NOT INDEXED WHERE n.photo_id >= ? AND n.set_id = ? AND EXISTS (SELECT 1 FROM {earlier} AND o.path >= ? AND o.path < ?)"
        query = f"SELECT 1 FROM {late} LIMIT 1"
        return any(self.rows(query, (first, self.set_id, first, low, high)) for low, high in self.paths.ranges(root))

    def photo_of_content(self, digest: bytes) -> int | None:
        """One of the photos with this content."""
        rows = self.rows("SELECT photo_id FROM photos WHERE digest = ? AND set_id = ? AND NOT again LIMIT 1", (digest, self.set_id))
        with trusted(self.path):
            return as_int(rows[0][0]) if rows else None

    def skips(self) -> Iterator[Skipped]:
        """The recorded skips, ascending by path."""
        for low, high in self.paths.ranges("/"):
            query = f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips WHERE path >= ? AND path < ?"
            yield from map(self._skip, self._pages(query, (), low, high))

    def unreadable(self) -> Iterator[tuple[str, object]]:
        """Table and path of each skipped file and root whose record cannot be read."""
        for row in self.rows(f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips"):
            try:
                self._skip(row)
            except IndexDamaged:
                yield "skips", row[0]
        for (path,) in self.rows("SELECT path FROM roots"):
            if not isinstance(path, bytes) or not self.paths.is_stored(path):
                yield "roots", path

    def roots(self) -> tuple[str, ...]:
        """The roots, sorted."""
        rows = self.rows("SELECT path FROM roots WHERE NOT mount")
        with trusted(self.path):
            return tuple(sorted((self.paths.unpack(as_bytes(path)) for (path,) in rows), key=os.fsencode))

    def mounts(self) -> dict[str, int | None]:
        """The mount points of the roots, each with the number of the file system that was there."""
        number = "file_system" if self.version >= CHANGES_FROM else "NULL"
        rows = self.rows(f"SELECT path, {number} FROM roots WHERE mount ORDER BY path")
        with trusted(self.path):
            return {self.paths.unpack(as_bytes(path)): None if n is None else as_int(n) for path, n in rows}

    # photos and faces

    def photos(self, root: str = "/") -> Iterator[StoredPhoto]:
        """The photos at and below a path, ascending by path."""
        yield from self.photos_of(f"{_PHOTOS} WHERE set_id = ? AND path >= ? AND path < ?", (self.set_id,), root)

    def photo_paths(self, root: str) -> Iterator[str]:
        """The paths of the photos at and below a path, of both sets of a migration."""
        query = "SELECT DISTINCT path FROM photos WHERE set_id IN (SELECT set_id FROM sets) AND path >= ? AND path < ?"
        for low, high in self.paths.ranges(root):
            with trusted(self.path):
                yield from (self.paths.unpack(as_bytes(path)) for (path,) in self._pages(query, (), low, high))

    def photos_of(self, query: str, parameters: tuple[object, ...], root: str = "/") -> Iterator[StoredPhoto]:
        """The photos of a query for PHOTO_COLUMNS whose last two parameters are a range of paths."""
        for low, high in self.paths.ranges(root):
            yield from map(self._photo, self._pages(query, parameters, low, high))

    def photo(self, photo_id: int) -> StoredPhoto | None:
        """One photo, of any set."""
        rows = self.rows(f"{_PHOTOS} WHERE photo_id = ?", (photo_id,))
        return self._photo(rows[0]) if rows else None

    def photo_with(self, face_id: int) -> StoredPhoto:
        """The photo that shows a face; raises QueryError where there is no such face."""
        photo = self.photo(self.photo_of(face_id))
        if photo is None:
            raise QueryError("no such face in the index", f"face:{face_id}")
        return photo

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
            if not are_unit(codes).all():
                raise ValueError("no embedding")
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
        """The keyed hash that stands for a content which `remove` keeps out.

        The key is this index's own and stands in it: marks of two indexes cannot be compared, but whoever has the index can ask it for a content.
        """
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
