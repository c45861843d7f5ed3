"""The provable end of a deletion: slots zeroed, the WAL emptied, the catalogue's bytes searched, and a record that it is done."""

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
from facecli.store.errors import REPAIR, explained
from facecli.store.vector_file import VectorWriter
from facecli.store.write.residue import Residue, file_size

SMALL = 16 << 20
"""Bytes of a catalogue that is written anew rather than searched: it takes less than a second."""
_POLL_SECONDS = 0.02
_UNERASED = "SELECT slot FROM holes h JOIN sets s USING (set_id) WHERE set_id = ? AND NOT erased AND slot >= 0 AND slot < s.slots"


def erase(catalogue: Catalogue, disk: Disk, vectors: dict[int, VectorWriter], traces: Residue, wait_readers: float) -> bool:
    """Finish what deletions began; whether it is proved, or a reader still holds an older state open.

    The transaction that deleted came before: a crash from here on leaves work pending, which the next writer does.
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
    """Whether stale copies may stand in the catalogue's gaps."""
    return not traces.complete or file_size(catalogue.path) <= SMALL or traces.found_in(catalogue.path)


def _refuse_endless(catalogue: Catalogue) -> None:
    """Raise IndexDamaged where pages stand in several places: forged ones that name each other are rows without end, which VACUUM would copy."""
    (said,) = catalogue.rows("PRAGMA quick_check(1)")[0]
    if said != "ok":
        raise IndexDamaged("the catalogue is damaged, so that the erasure cannot be proved", catalogue.path, hint=REPAIR)


@contextmanager
def _spilling_beside(catalogue: Catalogue) -> Iterator[None]:
    """Within the block a large catalogue passes through a nameless file in the index, in place of memory: only what stays goes that way."""
    connection, raw = catalogue.connection, os.fsencode(catalogue.directory)
    place = raw.decode("utf-8", "replace")
    if file_size(catalogue.path) <= SMALL or place.encode() != raw:
        yield
        return
    quoted = place.replace("'", "''")
    connection.execute(f"PRAGMA temp_store_directory = '{quoted}'")
    # A build of SQLite without that pragma gives nothing back, and would write elsewhere.
    named = connection.execute("PRAGMA temp_store_directory").fetchone()
    connection.execute(f"PRAGMA temp_store = {'FILE' if named == (place,) else 'MEMORY'}")
    try:
        yield
    finally:
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("PRAGMA temp_store_directory = ''")


def _empty_wal(connection: sqlite3.Connection, disk: Disk, wait_seconds: float) -> bool:
    """Move the WAL into the catalogue and truncate it; False where readers hold it for longer than `wait_seconds`."""
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
