"""Erase deleted data verifiably: zero the slots, empty the WAL, search the catalogue's bytes, record the completion."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from facecli.errors import IndexDamaged
from facecli.store.catalog.connection import transaction
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.sets import SetRow
from facecli.store.disk.durable import Disk
from facecli.store.errors import explained, repair_hint
from facecli.store.vector_writer import VectorWriter
from facecli.store.write.residue import Residue, file_size

SMALL = 16 << 20
"""Catalogues up to this size in bytes are rewritten rather than searched, which takes less than a second."""
_POLL_SECONDS = 0.02
_UNERASED = (
    "SELECT slot FROM holes h JOIN sets s USING (set_id) "
    "WHERE set_id = ? AND NOT erased AND slot >= 0 AND slot < s.slots"
)


def erase(
    catalogue: Catalogue, disk: Disk, vectors: dict[int, VectorWriter], traces: Residue, wait_readers: float
) -> bool:
    """Erase deleted data; returns False where a reader still holds an older state open after `wait_readers` seconds.

    The transaction that deleted is committed before: after a crash here the erasure is pending, and the next writer
    finishes it.
    """
    with explained(catalogue.path):
        for set_id, writer in vectors.items():
            slots = catalogue.rows(_UNERASED, (set_id,))
            with disk.step("zero"):
                writer.zero(int(slot) for (slot,) in slots)  # type: ignore[call-overload]
        if not _empty_wal(catalogue.connection, disk, wait_readers):
            return False
        if _must_rewrite(catalogue, traces):
            _refuse_endless(catalogue)
            with disk.step("vacuum"), _spilling_beside(catalogue):
                catalogue.connection.execute("VACUUM")
            if not _empty_wal(catalogue.connection, disk, wait_readers):
                return False
        with transaction(catalogue.connection, disk, "erased"):
            catalogue.connection.execute("UPDATE holes SET erased = 1 WHERE NOT erased")
            catalogue.connection.execute("UPDATE state SET pending = 0")
    return True


def _must_rewrite(catalogue: Catalogue, traces: Residue) -> bool:
    """Whether the catalogue's unused bytes may hold copies of deleted data."""
    return not traces.complete or file_size(catalogue.path) <= SMALL or traces.found_in(catalogue.path)


def _refuse_endless(catalogue: Catalogue) -> None:
    """Raise IndexDamaged if the catalogue's pages are linked wrongly.

    Forged pages that name each other are endless rows, which VACUUM would copy.
    """
    (said,) = catalogue.rows("PRAGMA quick_check(1)")[0]
    if said != "ok":
        raise IndexDamaged(
            "the catalogue is damaged, so that the erasure cannot be proved",
            catalogue.path,
            hint=repair_hint(catalogue.path),
        )


@contextmanager
def _spilling_beside(catalogue: Catalogue) -> Iterator[None]:
    """In the block, VACUUM of a large catalogue uses an unnamed file in the index directory instead of memory.

    Only data that stays in the index is written to it.
    """
    connection, raw = catalogue.connection, os.fsencode(catalogue.directory)
    place = raw.decode("utf-8", "replace")
    if file_size(catalogue.path) <= SMALL or place.encode() != raw:
        yield
        return
    quoted = place.replace("'", "''")
    connection.execute(f"PRAGMA temp_store_directory = '{quoted}'")
    # A SQLite build without that pragma returns nothing, and would write to another directory.
    named = connection.execute("PRAGMA temp_store_directory").fetchone()
    connection.execute(f"PRAGMA temp_store = {'FILE' if named == (place,) else 'MEMORY'}")
    try:
        yield
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA temp_store_directory = ''")


def _empty_wal(connection: sqlite3.Connection, disk: Disk, wait_seconds: float) -> bool:
    """Checkpoint and truncate the WAL; returns False where readers hold it for longer than `wait_seconds`."""
    deadline = time.monotonic() + wait_seconds
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            with disk.step("checkpoint"):
                busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if not busy:
                return True
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_SECONDS)
    finally:
        connection.execute("PRAGMA busy_timeout = 30000")


def dirty(row: SetRow, catalogue: Catalogue) -> bool:
    """Whether more than a fifth of a set's slots are holes."""
    return 5 * catalogue.number("SELECT count(*) FROM holes WHERE set_id = ?", (row.set_id,)) > row.slots
