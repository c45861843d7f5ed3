"""Whole rows of photos and faces, each held against its checksum: what is merged into another index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from facecli.captures import Capture
from facecli.store.catalog.face_columns import (
    BYTES,
    FACE_COLUMNS,
    FACE_TYPES,
    INT,
    INT_OR_NULL,
    read_faces,
    typed_columns,
)
from facecli.store.catalog.known_files import FileQueries
from facecli.store.catalog.rows import (
    DIGEST_SIZE,
    FaceRow,
    as_bytes,
    as_int,
    photo_checksum,
    read_capture,
)
from facecli.store.catalog.sets import Row
from facecli.store.errors import trusted
from facecli.types import PhotoFile

_PHOTO_TYPES = (BYTES, INT, INT, INT, INT_OR_NULL, INT_OR_NULL, BYTES, INT, INT, INT, INT, INT)


class WholePhoto(Struct, frozen=True):
    """A photo as an index records it."""

    place: bytes
    """Its absolute path, by whose bytes photos are ordered."""
    photo_id: int
    file: PhotoFile
    digest: bytes
    width: int
    height: int
    faces: int
    again: bool
    """Whether it must be embedded again, so that its faces are not to be used."""
    capture: Capture | None


class Standing(Struct, frozen=True):
    """What an index has at a path."""

    photo_id: int
    mtime_ns: int
    digest: bytes
    again: bool


class WholeRows(FileQueries):
    """Queries for whole rows; raise IndexDamaged where one is not as it was written."""

    def whole_photos(self, page: int) -> Iterator[WholePhoto]:
        """All photos, ascending by path, `page` of them in memory at a time."""
        query = (
            f"SELECT path, photo_id, {self._stat}, digest, width, height, checksum, again, "
            f"(SELECT count(*) FROM faces f WHERE f.photo_id = p.photo_id), {self.capture_columns} FROM photos p "
            f"WHERE set_id = ? AND path >= ? AND path < ? ORDER BY path LIMIT {page:d}"
        )
        before = b""
        for low, high in self.paths.ranges("/"):
            rows = self.rows(query, (self.set_id, low, high))
            while rows:
                with trusted(self.path):
                    for photo in self._whole_photos(rows):
                        if photo.place <= before:
                            raise ValueError("paths that do not ascend")
                        before = photo.place
                        yield photo
                rows = self.rows(query, (self.set_id, as_bytes(rows[-1][0]) + b"\0", high))

    def _whole_photos(self, rows: list[Row]) -> Iterator[WholePhoto]:
        """Each row as a photo; raises TypeError or ValueError where one is damaged."""
        captures = [read_capture(row[len(_PHOTO_TYPES) :]) for row in rows]
        columns = typed_columns([row[: len(_PHOTO_TYPES)] for row in rows], _PHOTO_TYPES)
        for (
            path,
            number,
            size,
            mtime_ns,
            ctime_ns,
            inode,
            digest,
            width,
            height,
            checksum,
            again,
            faces,
            capture,
        ) in zip(*columns, captures, strict=True):
            file = PhotoFile(self.paths.unpack(path), size, mtime_ns, ctime_ns, inode)
            expected = photo_checksum(number, digest, path, self.set_id, size, mtime_ns, width, height)
            if expected != checksum or len(digest) != DIGEST_SIZE:
                raise ValueError("not the photo that was written")
            place = os.fsencode(file.path)
            yield WholePhoto(place, number, file, digest, width, height, faces, bool(again), capture)

    def whole_faces(self, photo_ids: Iterable[int]) -> dict[int, list[FaceRow]]:
        """The faces of photos, ascending by id; photos without faces are left out."""
        found: dict[int, list[FaceRow]] = {}
        query = (
            # Without the hint SQLite would go through all faces of the set for each statement.
            f"SELECT {FACE_COLUMNS} FROM faces f INDEXED BY faces_by_photo LEFT JOIN embeddings e USING (face_id) "
            "WHERE f.set_id = ? AND f.photo_id IN ? ORDER BY f.photo_id, f.face_id"
        )
        for rows in self.rows_in(query, list(photo_ids), self.set_id):
            with trusted(self.path):
                columns = tuple(typed_columns(rows, FACE_TYPES))
                for photo_id, face in zip(columns[0], read_faces(columns, self.dimension), strict=True):
                    found.setdefault(photo_id, []).append(face)
        return found

    @property
    def dimension(self) -> int:
        """The dimension of the embeddings."""
        return next(row.file.dimension for row in self.sets().values() if row.set_id == self.set_id)

    def standing(self, paths: Sequence[str]) -> dict[str, Standing]:
        """What stands at these paths; paths without a photo are left out."""
        found: dict[str, Standing] = {}
        query = "SELECT path, photo_id, mtime_ns, digest, again FROM photos WHERE set_id = ? AND path IN ?"
        for rows in self.rows_in(query, [self.paths.pack(path) for path in paths], self.set_id):
            with trusted(self.path):
                for path, number, mtime_ns, digest, again in rows:
                    entry = Standing(as_int(number), as_int(mtime_ns), as_bytes(digest), bool(again))
                    found[self.paths.unpack(as_bytes(path))] = entry
        return found

    def contents(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """The first photo of each of these contents; contents that no photo has are left out."""
        return self._numbers_by_digest("min(photo_id)", digests, "AND NOT again")

    def count_copies(self, digests: Iterable[bytes]) -> dict[bytes, int]:
        """How many photos have each of these contents."""
        return self._numbers_by_digest("count(*)", digests)

    def _numbers_by_digest(self, number: str, digests: Iterable[bytes], condition: str = "") -> dict[bytes, int]:
        found: dict[bytes, int] = {}
        query = (
            f"SELECT digest, {number} FROM photos INDEXED BY photos_by_digest "
            f"WHERE set_id = ? AND digest IN ? {condition} GROUP BY digest"
        )
        for rows in self.rows_in(query, list(digests), self.set_id):
            with trusted(self.path):
                found |= {as_bytes(digest): as_int(n) for digest, n in rows}
        return found

    def marks_of_removal(self) -> set[tuple[bytes, bytes]]:
        """The tokens of everything that was removed and stays removed, each with the box of the face, if it is one."""
        with trusted(self.path):
            return {
                (as_bytes(token), as_bytes(box or b"")) for token, box in self.rows("SELECT token, box FROM kept_out")
            }
