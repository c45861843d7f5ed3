"""Verify that an index is complete: faces and slots of its files match one to one, and all checksums hold."""

from __future__ import annotations

import os
import struct
from collections.abc import Generator, Iterator

import numpy as np
from msgspec import Struct

from facecli.errors import IndexDamaged
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import (
    FaceRow,
    are_unit,
    as_bytes,
    as_float,
    as_int,
    photo_checksum,
    read_box,
    read_codes,
    read_landmarks,
)
from facecli.store.catalog.sets import SetRow
from facecli.store.errors import trusted
from facecli.store.maintenance.check_people import check_people
from facecli.store.records import Problem
from facecli.store.short_codes import encode
from facecli.store.vector_file import StoredCodes, VectorFile
from facecli.wording import counted

PAGE = 2048
_FACES = (
    "SELECT f.slot, f.face_id, f.photo_id, f.box, f.score, f.found_by, f.landmarks, f.checksum, e.embedding, p.path "
    "FROM faces f "
    "LEFT JOIN embeddings e USING (face_id) LEFT JOIN photos p ON p.photo_id = f.photo_id AND p.set_id = f.set_id "
    "WHERE f.set_id = ? AND f.slot > ? ORDER BY f.slot LIMIT ?"
)
_PHOTOS = (
    "SELECT photo_id, digest, path, checksum, set_id, size, mtime_ns, width, height FROM photos "
    "WHERE photo_id > ? ORDER BY photo_id LIMIT ?"
)


class CheckedFace(Struct, frozen=True):
    """A face as read for the check."""

    slot: int
    face_id: int
    photo_id: int
    where: str
    row: FaceRow | None
    """None where a field of the face is missing or invalid."""
    checksum: int
    has_photo: bool

    @property
    def is_whole(self) -> bool:
        """Whether the face has its photo, all its fields, a matching checksum and an embedding of unit length."""
        if not self.has_photo or self.row is None or self.row.checksum(self.face_id, self.photo_id) != self.checksum:
            return False
        return bool(are_unit(read_codes([self.row.embedding], len(self.row.embedding) // 2)).all())


def check_all(catalogue: Catalogue) -> Iterator[Problem]:
    """All problems of an index."""
    parts = (_check_structure, _check_photos, _check_sets, check_people)
    for part in parts:
        try:
            yield from part(catalogue)
        except IndexDamaged as error:
            yield Problem(error.what, error.where)


def _check_structure(catalogue: Catalogue) -> Iterator[Problem]:
    """Problems that SQLite's integrity check finds, and orphaned rows."""
    for (line,) in catalogue.rows("PRAGMA integrity_check(100)"):
        if line != "ok":
            yield Problem(f"the catalogue's structure is damaged ({line})", str(catalogue.path))
    loose = catalogue.number("SELECT count(*) FROM embeddings WHERE face_id NOT IN (SELECT face_id FROM faces)")
    loose += catalogue.number("SELECT count(*) FROM faces WHERE set_id NOT IN (SELECT set_id FROM sets)")
    loose += catalogue.number("SELECT count(*) FROM photos WHERE set_id NOT IN (SELECT set_id FROM sets)")
    if loose:
        yield Problem(counted(loose, "orphaned row"), str(catalogue.path))
    if unreadable := sum(1 for _ in catalogue.unreadable()):
        yield Problem(
            f"{counted(unreadable, 'damaged record')} of skipped files, roots and excludes", str(catalogue.path)
        )


def _check_photos(catalogue: Catalogue) -> Iterator[Problem]:
    last = -(1 << 62)
    while rows := catalogue.rows(_PHOTOS, (last, PAGE)):
        with trusted(catalogue.path):
            last = as_int(rows[-1][0])
            for photo_id, digest, path, checksum, *numbers in rows:
                values = [as_int(number) for number in numbers]
                fails = photo_checksum(as_int(photo_id), as_bytes(digest), as_bytes(path), *values) != checksum
                if fails or not catalogue.paths.is_stored(as_bytes(path)):
                    yield Problem(
                        "the record of a photo fails its checksum", _shown(catalogue, path), photo_id=as_int(photo_id)
                    )


def _shown(catalogue: Catalogue, path: object) -> str:
    """A stored path for a message, even an invalid one; the catalogue's path where it is not bytes."""
    if not isinstance(path, bytes):
        return str(catalogue.path)
    return catalogue.paths.unpack(path) if catalogue.paths.is_stored(path) else os.fsdecode(path.replace(b"\0", b"?"))


def _check_sets(catalogue: Catalogue) -> Iterator[Problem]:
    for row in catalogue.sets().values():
        yield from check_set(catalogue, row)


def check_set(catalogue: Catalogue, row: SetRow) -> Iterator[Problem]:
    """The problems of one set: its counts, faces and files of codes, and whether they match."""
    photos = catalogue.number("SELECT count(*) FROM photos WHERE set_id = ?", (row.set_id,))
    faces = catalogue.number("SELECT count(*) FROM faces WHERE set_id = ?", (row.set_id,))
    if (photos, faces) != (row.photos, row.faces):
        has = f"{counted(photos, 'photo')} and {counted(faces, 'face')}"
        yield Problem(f"the catalogue has {has}, but records {row.photos} and {row.faces}", str(catalogue.path))
    codes = yield from _open(row.file, row.slots, needed=bool(faces))
    short = yield from _open(row.file.compact, row.slots, needed=False)
    for page in face_pages(catalogue, row):
        yield from _check_faces(page, codes)
        if short is not None:
            yield from _check_short(page, short)
    yield from _check_slots(catalogue, row, codes, short)


def _open(file: VectorFile, slots: int, *, needed: bool) -> Generator[Problem, None, StoredCodes | None]:
    """The codes of a file; a missing one is a problem where it is needed."""
    try:
        return file.read(slots)
    except IndexDamaged as error:
        yield Problem(error.what, error.where)
    except OSError as error:
        if needed or not isinstance(error, FileNotFoundError):
            yield Problem(f"the {file.form.name} cannot be read ({error.strerror})", str(file.path))
    return None


def _check_faces(page: list[CheckedFace], codes: StoredCodes | None) -> Iterator[Problem]:
    """Check each face against its checksum and its code in the vector file."""
    for face in page:
        if not face.is_whole:
            yield Problem(f"face:{face.face_id} fails its checksum", face.where, face.face_id, face.photo_id)
        elif codes is not None and (
            not 0 <= face.slot < len(codes) or face.row is None or codes.code(face.slot) != face.row.embedding
        ):
            yield Problem(
                f"face:{face.face_id} has a different embedding in the vector file",
                face.where,
                face.face_id,
                face.photo_id,
            )


def _check_short(page: list[CheckedFace], short: StoredCodes) -> Iterator[Problem]:
    """Check the codes of whole faces in the compact file, which may hold fewer slots than the set."""
    rows = [(face, face.row) for face in page if face.row is not None and face.is_whole and 0 <= face.slot < len(short)]
    if not rows:
        return
    embeddings = [row.embedding for _, row in rows]
    wanted = encode(read_codes(embeddings, len(embeddings[0]) // 2))
    found = short.at(np.array([face.slot for face, _ in rows], np.int64))
    for place in np.flatnonzero((found != wanted).any(axis=1)).tolist():
        face = rows[place][0]
        what = f"face:{face.face_id} has a different code in the compact file"
        yield Problem(what, str(short.path), face.face_id, face.photo_id)


def _check_slots(
    catalogue: Catalogue, row: SetRow, codes: StoredCodes | None, short: StoredCodes | None
) -> Iterator[Problem]:
    """Check that each slot is either a face's or a hole, and that erased slots are zero."""
    uses = np.zeros(row.slots if codes is not None else 0, np.uint8)
    with trusted(catalogue.path):
        holes = [
            (as_int(slot), as_int(erased))
            for slot, erased in catalogue.rows("SELECT slot, erased FROM holes WHERE set_id = ?", (row.set_id,))
        ]
        slots = [as_int(slot) for (slot,) in catalogue.rows("SELECT slot FROM faces WHERE set_id = ?", (row.set_id,))]
    taken = np.array([*slots, *(slot for slot, _ in holes)], np.int64)
    if len(taken) != row.slots or (len(taken) and (taken.min() < 0 or taken.max() >= row.slots)):
        yield Problem(f"{len(taken)} faces and holes do not fit {row.slots} slots", str(row.file.path))
    elif codes is not None:
        np.add.at(uses, taken, 1)
        for slot in np.flatnonzero(uses != 1).tolist():
            yield Problem(f"slot {slot} has no face, or several", str(row.file.path))
        for slot, erased in holes:
            for file in (codes, short):
                if erased and file is not None and slot < len(file) and any(file.code(slot)):
                    yield Problem(f"slot {slot} was erased but is not zero", str(file.path))


def face_pages(catalogue: Catalogue, row: SetRow) -> Iterator[list[CheckedFace]]:
    """All faces of a set, ascending by slot, in pages."""
    last = -(1 << 62)
    while rows := catalogue.rows(_FACES, (row.set_id, last, PAGE)):
        yield [_read_face(catalogue, row, values) for values in rows]
        with trusted(catalogue.path):
            last = as_int(rows[-1][0])


def _read_face(catalogue: Catalogue, row: SetRow, values: tuple[object, ...]) -> CheckedFace:
    slot, face_id, photo_id, box, score, found_by, landmarks, checksum, embedding, path = values
    with trusted(catalogue.path):
        where = _shown(catalogue, path)
        numbers = as_int(slot), as_int(face_id), as_int(photo_id)
    try:
        recorded = as_int(checksum)
        face = FaceRow(as_bytes(box), as_float(score), as_int(found_by), as_bytes(landmarks), as_bytes(embedding))
        read_box(face.box)
        read_landmarks(face.landmarks)
        is_face = len(face.embedding) == row.file.code_size
    except (TypeError, ValueError, struct.error):
        return CheckedFace(*numbers, where, None, 0, path is not None)
    return CheckedFace(*numbers, where, face if is_face else None, recorded, path is not None)
