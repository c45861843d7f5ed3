"""Rebuild a set's vector file from the catalogue: as it was, or without holes as a new epoch."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator

import numpy as np

from facecli.store.catalog.connection import transaction
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_int, read_codes
from facecli.store.catalog.sets import SetRow
from facecli.store.disk.durable import Disk
from facecli.store.errors import trusted
from facecli.store.vector_file import BLOCK, Codes, VectorFile
from facecli.store.vector_writer import VectorWriter


def new_mark(epoch: int) -> bytes:
    """The mark that ties a vector file to its catalogue: the epoch and eight random bytes."""
    return epoch.to_bytes(8, "little") + os.urandom(8)


def rebuild(catalogue: Catalogue, disk: Disk, row: SetRow) -> VectorWriter:
    """Write the next epoch beside the current file, switch to it in one transaction, and delete the old files."""
    connection = catalogue.connection
    epoch = catalogue.number("SELECT last_epoch FROM state") + 1
    file = VectorFile(row.file.directory, epoch, new_mark(epoch), row.file.dimension)
    writer = VectorWriter.create(file, disk, (codes for _, codes in _pages(catalogue, row)))
    try:
        with transaction(connection, disk, "rebuild"):
            count = _compact_slots(connection, row.set_id)
            connection.execute("DELETE FROM holes WHERE set_id = ?", (row.set_id,))
            query = "UPDATE sets SET epoch = ?, mark = ?, slots = ? WHERE set_id = ?"
            connection.execute(query, (epoch, file.mark, count, row.set_id))
            connection.execute("UPDATE state SET last_epoch = ?, generation = generation + 1", (epoch,))
    except BaseException:
        writer.close()
        raise
    for old in (row.file, row.file.compact):
        disk.unlink(old.path, "old vectors")
    disk.sync_directory(row.file.directory)
    return writer


def restore(catalogue: Catalogue, disk: Disk, row: SetRow) -> VectorWriter:
    """Rewrite the file that the catalogue describes; the catalogue does not change, and open readers can use the file.

    Where faces and holes do not fill the slots exactly, that is not possible, and a new epoch is written.
    """
    query = (
        "SELECT count(*), count(DISTINCT slot), min(slot), max(slot) "
        "FROM (SELECT slot, set_id FROM faces UNION ALL SELECT slot, set_id FROM holes)"
    )
    rows = catalogue.rows(f"{query} WHERE set_id = ?", (row.set_id,))
    if rows[0] != (row.slots, row.slots, 0 if row.slots else None, row.slots - 1 if row.slots else None):
        return rebuild(catalogue, disk, row)
    return VectorWriter.create(row.file, disk, _with_holes(catalogue, row))


def _with_holes(catalogue: Catalogue, row: SetRow) -> Iterator[Codes]:
    """The codes of all slots from 0 on, with zeros for the holes."""
    first = 0
    for slots, codes in _pages(catalogue, row):
        block = np.zeros((slots[-1] + 1 - first, row.file.dimension), "<f2")
        block[np.array(slots) - first] = codes
        first = slots[-1] + 1
        yield block
    yield np.zeros((row.slots - first, row.file.dimension), "<f2")


def _pages(catalogue: Catalogue, row: SetRow) -> Iterator[tuple[list[int], Codes]]:
    """The slots of a set's faces, ascending, and their embeddings, one page at a time."""
    query = (
        "SELECT slot, embedding FROM faces LEFT JOIN embeddings USING (face_id) "
        "WHERE set_id = ? AND slot > ? ORDER BY slot LIMIT ?"
    )
    step, last = max(1, BLOCK // row.file.code_size), -(1 << 62)
    while rows := catalogue.rows(query, (row.set_id, last, step)):
        with trusted(catalogue.path):
            slots = [as_int(slot) for slot, _ in rows]
            last = slots[-1]
            codes = read_codes([as_bytes(embedding) for _, embedding in rows], row.file.dimension)
        yield slots, codes


def _compact_slots(connection: sqlite3.Connection, set_id: int) -> int:
    """Renumber the slots of a set's faces from 0 in their order, and return the number of faces.

    The order ensures that each new slot is free when a face moves there.
    """
    slots = connection.execute("SELECT face_id, slot FROM faces WHERE set_id = ? ORDER BY slot", (set_id,)).fetchall()
    moved = [(new, face) for new, (face, old) in enumerate(slots) if new != old]
    connection.executemany("UPDATE faces SET slot = ? WHERE face_id = ?", moved)
    return len(slots)
