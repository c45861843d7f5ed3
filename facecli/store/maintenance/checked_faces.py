"""The faces of an index, each with whether it is as it was written."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from facecli.store.catalog.face_columns import BYTES, FACE_COLUMNS, FACE_TYPES, INT, read_faces, typed_columns
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import (
    FaceRow,
    are_unit,
    as_bytes,
    as_float,
    as_int,
    read_box,
    read_codes,
    read_landmarks,
)
from facecli.store.catalog.sets import Row, SetRow
from facecli.store.errors import trusted

PAGE = 2048
_FACES = (
    f"SELECT {FACE_COLUMNS}, f.slot, p.path FROM faces f LEFT JOIN embeddings e USING (face_id) "
    "LEFT JOIN photos p ON p.photo_id = f.photo_id AND p.set_id = f.set_id "
    "WHERE f.set_id = ? AND f.slot > ? ORDER BY f.slot LIMIT ?"
)


class CheckedFace(Struct, frozen=True):
    """A face as read for the check."""

    face_id: int
    photo_id: int
    checksum: int
    slot: int
    path: object
    """The path of its photo as it is stored; None where it has no photo."""
    row: FaceRow | None
    """None where a field of the face is missing or invalid."""
    is_whole: bool
    """Whether it has its photo, all its fields, a matching checksum and an embedding of unit length."""

    def matches(self, row: FaceRow) -> bool:
        """Whether a row is the face that was written."""
        codes = read_codes([row.embedding], len(row.embedding) // 2)
        return row.checksum(self.face_id, self.photo_id) == self.checksum and bool(are_unit(codes).all())


def face_pages(catalogue: Catalogue, row: SetRow) -> Iterator[list[CheckedFace]]:
    """All faces of a set, ascending by slot, in pages."""
    last = -(1 << 62)
    while rows := catalogue.rows(_FACES, (row.set_id, last, PAGE)):
        yield _read_page(catalogue, row, rows)
        with trusted(catalogue.path):
            last = as_int(rows[-1][-2])


def shown(catalogue: Catalogue, path: object) -> str:
    """A stored path for a message, even an invalid one; the catalogue's path where it is not bytes."""
    if not isinstance(path, bytes):
        return str(catalogue.path)
    return catalogue.paths.unpack(path) if catalogue.paths.is_stored(path) else os.fsdecode(path.replace(b"\0", b"?"))


def _read_page(catalogue: Catalogue, row: SetRow, rows: list[Row]) -> list[CheckedFace]:
    """The faces of a page: all at once where nothing is wrong with any, else one by one."""
    try:
        columns = tuple(typed_columns(rows, (*FACE_TYPES, INT, BYTES)))
        photos, ids, *_, checksums, _, slots, paths = columns
        faces = read_faces(columns[: len(FACE_TYPES)], row.file.dimension)
    except (TypeError, ValueError):
        return [_read_face(catalogue, row, values) for values in rows]
    whole = [True] * len(rows)
    return list(map(CheckedFace, ids, photos, checksums, slots, paths, faces, whole))


def _read_face(catalogue: Catalogue, row: SetRow, values: Row) -> CheckedFace:
    photo_id, face_id, box, score, found_by, landmarks, checksum, embedding, slot, path = values
    with trusted(catalogue.path):
        numbers = as_int(face_id), as_int(photo_id)
        place = as_int(slot)
    try:
        recorded = as_int(checksum)
        face = FaceRow(as_bytes(box), as_float(score), as_int(found_by), as_bytes(landmarks), as_bytes(embedding))
        read_box(face.box)
        read_landmarks(face.landmarks)
        is_face = len(face.embedding) == row.file.code_size
    except (TypeError, ValueError, struct.error):
        return CheckedFace(*numbers, 0, place, path, None, is_whole=False)
    found = CheckedFace(*numbers, recorded, place, path, face if is_face else None, is_whole=False)
    return replace(found, is_whole=is_face and path is not None and found.matches(face))
