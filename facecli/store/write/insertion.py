"""Insert new photos and faces: their ids and slots are given in order, their rows written by a few statements."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import CAPTURE, FaceRow, PhotoRow, as_count, as_int, capture_values, photo_checksum
from facecli.store.catalog.sets import SetRow
from facecli.store.errors import trusted
from facecli.types import PhotoFile

STAT = ("size", "mtime_ns", "ctime_ns", "inode")
"""The columns that show later whether a file is unchanged."""
_PHOTO = ("photo_id", "set_id", "digest", "path", *STAT, "width", "height", "checksum", *CAPTURE)
_FACE = ("face_id", "set_id", "photo_id", "slot", "box", "score", "found_by", "landmarks", "checksum")


def stat_values(file: PhotoFile) -> tuple[int, int, int | None, int | None]:
    """The values of STAT."""
    return file.size, file.mtime_ns, file.ctime_ns, file.inode


class Insertions:
    """The new rows of one transaction; they are in the catalogue after `flush`."""

    def __init__(self, catalogue: Catalogue, row: SetRow) -> None:
        self._path = catalogue.path
        self._connection: sqlite3.Connection = catalogue.connection
        self._row = row
        self._next_photo = self._last_id("photos") + 1
        self._next_face = self._last_id("faces") + 1
        self.faces = 0
        """The number of faces added."""
        self.codes: list[bytes] = []
        """The embeddings of new slots, in the order of the slots."""
        self._photos: list[tuple[object, ...]] = []
        self._faces: list[tuple[object, ...]] = []
        self._embeddings: list[tuple[int, bytearray]] = []

    def add_photo(self, photo: PhotoRow, stored: bytes) -> int:
        """Add a photo without its faces under a stored path; returns its id."""
        photo_id, file, set_id = self._next_photo, photo.file, self._row.set_id
        self._next_photo += 1
        checksum = photo_checksum(
            photo_id, photo.digest, stored, set_id, file.size, file.mtime_ns, photo.width, photo.height
        )
        values = (photo_id, set_id, photo.digest, stored, *stat_values(file), photo.width, photo.height, checksum)
        self._photos.append((*values, *capture_values(photo.capture)))
        return photo_id

    def add_faces(self, faces: Sequence[FaceRow], photo_id: int) -> int:
        """Add faces to a photo; returns the id of the first, which the others follow."""
        first, set_id, first_slot = self._next_face, self._row.set_id, self._row.slots + len(self.codes)
        # Python's sqlite3 asks for an adapter of each bytes but not of a bytearray, which takes longer than the copy.
        self._faces += [
            (
                face_id,
                set_id,
                photo_id,
                slot,
                bytearray(face.box),
                face.score,
                face.found_by,
                bytearray(face.landmarks),
                face.checksum(face_id, photo_id),
            )
            for face_id, slot, face in zip(itertools.count(first), itertools.count(first_slot), faces)
        ]
        codes = [face.embedding for face in faces]
        self._embeddings += zip(itertools.count(first), map(bytearray, codes))
        self.codes += codes
        self._next_face += len(faces)
        self.faces += len(faces)
        return first

    def new_slot(self, face: FaceRow) -> int:
        """A slot for the embedding of a face."""
        self.codes.append(face.embedding)
        return self._row.slots + len(self.codes) - 1

    def flush(self) -> None:
        """Write the rows that were added since the last call, and count them."""
        for table, names, rows in (("photos", _PHOTO, self._photos), ("faces", _FACE, self._faces)):
            self._connection.executemany(_insertion(table, names), rows)
        self._connection.executemany(_insertion("embeddings", ("face_id", "embedding")), self._embeddings)
        counts = (len(self._photos), len(self._faces), self._row.set_id)
        self._connection.execute("UPDATE sets SET photos = photos + ?, faces = faces + ? WHERE set_id = ?", counts)
        self._photos, self._faces, self._embeddings = [], [], []

    def _last_id(self, table: str) -> int:
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table,)).fetchone()
        last = row[0] if row else 0
        with trusted(self._path):
            if as_count(last) != last:
                raise ValueError("not an id")
            return as_int(last)


def _insertion(table: str, names: tuple[str, ...]) -> str:
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
