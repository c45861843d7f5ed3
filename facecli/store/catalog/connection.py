"""Connections to the catalogue: how it is opened for writing and, in each state that a directory can be in, for reading."""

from __future__ import annotations

import os
import sqlite3
import stat
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facecli.config import CATALOGUE_NAME
from facecli.errors import IndexDamaged, IndexMissing, StoreError
from facecli.store.catalog.schema import APPLICATION_ID, MIGRATIONS, definitions, expected
from facecli.store.disk.durable import Disk
from facecli.store.disk.filesystem import is_network
from facecli.store.disk.recovery import may_roll_back, refuse_forged
from facecli.store.locate import MAKE_ONE

CATALOGUE = CATALOGUE_NAME
BUSY_SECONDS = 30.0
_MOST_BYTES = 1 << 20
"""The longest row that is read; a forged length beyond it is refused before memory is taken."""
_STEPS = 100_000
"""Steps of SQLite's machine between two moments at which a statement can be ended: some milliseconds."""
_TROUBLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def connect(path: Path, **parameters: str) -> sqlite3.Connection:
    """Open a database file by URI parameters, guarded against what forged files could ask for.

    Nothing of what it holds goes to a temporary file: what a removal overwrites would stand in one, outside of the
    index.
    """
    if sqlite3.sqlite_version_info < (3, 37):
        raise StoreError(
            f"SQLite {sqlite3.sqlite_version} is too old, facecli needs 3.37 or newer", hint="use a newer Python"
        )
    query = "&".join(f"{k}={v}" for k, v in parameters.items())
    refuse_forged(path)
    uri = f"file:{urllib.parse.quote(os.fsencode(path))}?{query}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _MOST_BYTES)
    # Python calls the handlers of signals between two steps of its own, of which a statement of minutes has none but
    # these.
    connection.set_progress_handler(lambda: 0, _STEPS)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(
        "PRAGMA mmap_size = 0"
    )  # some builds map by default, and a mapped file that is cut ends the process
    return connection


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the catalogue under the writer's lock."""
    refuse_links(path.parent)
    may_roll_back(path)
    connection = connect(path, mode="rw")
    try:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("PRAGMA secure_delete = ON")
        wanted = "TRUNCATE" if is_network(path.parent) else "WAL"
        with suppress(sqlite3.OperationalError):  # a reader keeps the mode that is
            connection.execute(f"PRAGMA journal_mode = {wanted}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the catalogue without ever changing it, also where its directory cannot be written.

    There, without a WAL, the file is all there is (`immutable`); with a WAL and its shm SQLite can share them; a WAL
    alone is read with its index kept in memory, under no lock, since nobody can write there.
    """
    refuse_links(path.parent)
    if not os.path.lexists(path):
        raise IndexMissing("there is no index", path.parent, hint=MAKE_ONE)
    try:
        return _begin(connect(path, mode="ro"))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_READONLY_ROLLBACK:
            _roll_back(path)
            return _begin(connect(path, mode="ro"))
        if error.sqlite_errorcode & 0xFF not in _TROUBLE or (
            os.access(path.parent, os.W_OK) and os.access(path, os.W_OK)
        ):
            raise
    wal = path.with_name(path.name + "-wal")
    if not wal.exists() or wal.stat().st_size == 0:
        return _begin(connect(path, mode="ro", immutable="1"))
    connection = connect(path, mode="ro", vfs="unix-none")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    return _begin(connection)


def _begin(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Make sure that the file can really be read."""
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _roll_back(path: Path) -> None:
    """Undo what a writer died in, which only a connection that may write can do; under the writer's lock, as all writing is."""
    from facecli.store.disk.lock import WriterLock  # noqa: PLC0415 (rare, and no search is to wait for this import)

    may_roll_back(path)
    lock = WriterLock(path.parent)
    lock.acquire(BUSY_SECONDS)
    try:
        open_for_writing(path).close()
    finally:
        lock.release()


def refuse_links(directory: Path, written: tuple[str, ...] = ()) -> None:
    """Raise IndexDamaged where something in the index is neither a file nor a directory: a symbolic link could lead anywhere.

    So could a hard link among the names that are about to be written over, whatever stands in them.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            found = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
                raise IndexDamaged(
                    "something stands in the index that is no file",
                    entry.path,
                    hint="remove it; facecli keeps none there",
                )
            if entry.name in written and found.st_nlink > 1:
                raise IndexDamaged(
                    "a file of the index has another name, too", entry.path, hint="use a copy of the index (cp -r)"
                )


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """The catalogue's version; raises where a newer facecli or another program made it."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if version == 0 and not definitions(connection):
        raise IndexDamaged("the catalogue is empty", path, hint="move the index away and index the photos anew")
    if mark != APPLICATION_ID:
        raise IndexDamaged("the catalogue was made by another program", path)
    if version < 1:
        raise IndexDamaged("the catalogue has no version", path)
    if version > len(MIGRATIONS):
        raise StoreError(
            "the index was made by a newer facecli", path, hint="use that one, or -i DIR for another index"
        )
    if definitions(connection) != expected(MIGRATIONS[:version]):
        raise IndexDamaged("the catalogue's tables are not those that facecli makes", path)
    return version


@contextmanager
def transaction(connection: sqlite3.Connection, disk: Disk, what: str) -> Iterator[None]:
    """All of what is done inside, or nothing."""
    with disk.step(f"begin {what}"):
        connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        with disk.step(f"commit {what}"):
            connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """One state of the catalogue for all that is read inside."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")
