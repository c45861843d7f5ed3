"""Repair a catalogue: rebuild derived data, mark damaged photos to be embedded again."""

from __future__ import annotations

import sqlite3

from msgspec.structs import replace

from facecli.errors import IndexDamaged
from facecli.store.catalog.connection import transaction
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_int, photo_checksum
from facecli.store.catalog.sets import SetRow
from facecli.store.disk.durable import Disk
from facecli.store.errors import trusted
from facecli.store.maintenance.check import check_all
from facecli.store.maintenance.check_people import mend_people
from facecli.store.maintenance.checked_faces import CheckedFace, face_pages, shown
from facecli.store.records import Problem
from facecli.store.vector_file import StoredCodes
from facecli.wording import counted


def mend_rows(catalogue: Catalogue, disk: Disk) -> list[str]:
    """Repair the catalogue's rows in one transaction, and return messages about what was done.

    SQLite's indexes are rebuilt. A face that fails its checksum gets its embedding from the vector file if that matches
    the checksum; otherwise it is dropped, and its photo is marked to be embedded again. So is a photo whose own record
    fails its checksum.
    """
    found = list(check_all(catalogue))
    if not found:
        return []
    said: list[str] = []
    connection = catalogue.connection
    with transaction(connection, disk, "repair"):
        connection.execute("REINDEX")
        connection.execute("DELETE FROM photos WHERE set_id NOT IN (SELECT set_id FROM sets)")
        connection.execute("DELETE FROM faces WHERE set_id NOT IN (SELECT set_id FROM sets)")
        connection.execute("DELETE FROM embeddings WHERE face_id NOT IN (SELECT face_id FROM faces)")
        for row in catalogue.sets().values():
            _lift_slots(connection, row.set_id)
            said += _mend_faces(catalogue, row)
            counts = (row.set_id, row.set_id, row.set_id)
            query = (
                "UPDATE sets SET photos = (SELECT count(*) FROM photos WHERE set_id = ?), "
                "faces = (SELECT count(*) FROM faces WHERE set_id = ?)"
            )
            connection.execute(f"{query} WHERE set_id = ?", counts)
        said += _drop_unreadable(catalogue)
        said += mend_people(catalogue)
        said += [_mend_photo(catalogue, problem) for problem in found if problem.photo_id and not problem.face_id]
        connection.execute("UPDATE state SET generation = generation + 1")
    return said


def _lift_slots(connection: sqlite3.Connection, set_id: int) -> None:
    """Move faces whose slot is negative behind all others, so that a new vector file can renumber them."""
    last = "(SELECT max(max(slot), -1) + 1 FROM faces WHERE set_id = ?)"
    for (face,) in connection.execute("SELECT face_id FROM faces WHERE set_id = ? AND slot < 0", (set_id,)).fetchall():
        connection.execute(f"UPDATE faces SET slot = {last} WHERE face_id = ?", (set_id, face))


def _mend_faces(catalogue: Catalogue, row: SetRow) -> list[str]:
    codes: StoredCodes | None
    try:
        codes = row.file.read(row.slots)
    except (IndexDamaged, OSError):
        codes = None
    broken = [face for page in face_pages(catalogue, row) for face in page if not face.is_whole]
    return [_mend_face(catalogue, face, codes) for face in broken]


def _mend_face(catalogue: Catalogue, face: CheckedFace, codes: StoredCodes | None) -> str:
    """Restore a face's embedding from the vector file, or drop the face."""
    connection = catalogue.connection
    where = shown(catalogue, face.path)
    if codes is not None and 0 <= face.slot < len(codes) and face.row is not None and face.path is not None:
        healed = replace(face.row, embedding=codes.code(face.slot))
        if face.matches(healed):
            connection.execute(
                "UPDATE embeddings SET embedding = ? WHERE face_id = ?", (healed.embedding, face.face_id)
            )
            return f"face:{face.face_id} has its embedding restored from the vector file: {where}"
    connection.execute("DELETE FROM faces WHERE face_id = ?", (face.face_id,))
    connection.execute("UPDATE photos SET again = 1 WHERE photo_id = ?", (face.photo_id,))
    return f"face:{face.face_id} is dropped, the next index run embeds its photo again: {where}"


def _drop_unreadable(catalogue: Catalogue) -> list[str]:
    """Drop unreadable records of skipped files and roots; the next run records them again."""
    found = list(catalogue.unreadable())
    for table, column, value in found:
        catalogue.connection.execute(f"DELETE FROM {table} WHERE {column} IS ?", (value,))
    dropped = f"dropped {counted(len(found), 'record')} of skipped files, roots and excludes: {catalogue.path}"
    return [dropped] if found else []


def _mend_photo(catalogue: Catalogue, problem: Problem) -> str:
    """Accept a photo's record and mark the photo to be embedded again; drop it where its path is invalid."""
    query = "SELECT digest, path, set_id, size, mtime_ns, width, height FROM photos WHERE photo_id = ?"
    row = catalogue.connection.execute(query, (problem.photo_id,)).fetchone()
    if row is None:
        return f"the photo is no longer in the index: {problem.where}"
    if not catalogue.paths.is_stored(as_bytes(row[1])):
        catalogue.connection.execute("DELETE FROM photos WHERE photo_id = ?", (problem.photo_id,))
        return f"a photo with an invalid path is dropped: {problem.where}"
    with trusted(catalogue.path):
        checksum = photo_checksum(
            problem.photo_id, as_bytes(row[0]), as_bytes(row[1]), *(as_int(number) for number in row[2:])
        )
    catalogue.connection.execute(
        "UPDATE photos SET again = 1, checksum = ? WHERE photo_id = ?", (checksum, problem.photo_id)
    )
    return f"the next index run embeds the photo again: {problem.where}"
