"""Verify that an index is complete: faces and slots of its files match one to one, and all checksums hold."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.errors import IndexDamaged
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_int, photo_checksum, read_codes
from facecli.store.catalog.sets import SetRow
from facecli.store.errors import trusted
from facecli.store.maintenance.check_people import check_people
from facecli.store.maintenance.checked_faces import PAGE, CheckedFace, face_pages, shown
from facecli.store.records import Problem
from facecli.store.short_codes import encode
from facecli.store.vector_file import Codes, StoredCodes, VectorFile
from facecli.wording import counted

_PHOTOS = (
    "SELECT photo_id, digest, path, checksum, set_id, size, mtime_ns, width, height FROM photos "
    "WHERE photo_id > ? ORDER BY photo_id LIMIT ?"
)


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
                        "the record of a photo fails its checksum", shown(catalogue, path), photo_id=as_int(photo_id)
                    )


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
        yield from _check_faces(catalogue, page, codes, short)
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


def _check_faces(
    catalogue: Catalogue, page: list[CheckedFace], codes: StoredCodes | None, short: StoredCodes | None
) -> Iterator[Problem]:
    """Check each face against its checksum and its codes in both files, of which the compact one may hold fewer."""
    for face in page:
        if not face.is_whole:
            yield _problem(catalogue, face, "fails its checksum")
    whole = [face for face in page if face.is_whole]
    if codes is not None:
        for face in _differing(whole, codes, lambda codes: codes):
            yield _problem(catalogue, face, "has a different embedding in the vector file")
    if short is not None:
        for face in _differing([face for face in whole if face.slot < len(short)], short, encode):
            what = f"face:{face.face_id} has a different code in the compact file"
            yield Problem(what, str(short.path), face.face_id, face.photo_id)


def _problem(catalogue: Catalogue, face: CheckedFace, what: str) -> Problem:
    return Problem(f"face:{face.face_id} {what}", shown(catalogue, face.path), face.face_id, face.photo_id)


def _differing(
    faces: list[CheckedFace], stored: StoredCodes, encoded: Callable[[Codes], NDArray[Any]]
) -> Iterator[CheckedFace]:
    """The faces whose code in a file is not that of their embedding, and those that have none there."""
    inside = [face for face in faces if 0 <= face.slot < len(stored)]
    yield from (face for face in faces if not 0 <= face.slot < len(stored))
    embeddings = [face.row.embedding for face in inside if face.row is not None]
    if embeddings:
        wanted = encoded(read_codes(embeddings, len(embeddings[0]) // 2))
        found = stored.at(np.array([face.slot for face in inside], np.int64))
        differs = (found.view(np.uint8) != wanted.view(np.uint8)).any(axis=1)
        yield from (inside[place] for place in np.flatnonzero(differs).tolist())


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
