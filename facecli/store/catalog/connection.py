"""Connections to the catalogue: opened for writing, or for reading in every state that a directory can be in."""

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
"""The longest row that is read; a longer (forged) one is refused before memory is allocated."""
_STEPS = 100_000
"""Steps of SQLite's virtual machine between two points at which a statement can be interrupted: some milliseconds."""
CACHE_KB = 16_000
"""The pages that a writer keeps: a commit of thousands of faces, or SQLite would write some of them twice."""
_TROUBLE = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)


def connect(path: Path, **parameters: str) -> sqlite3.Connection:
    """Open a database file with URI parameters, protected against forged files.

    Its content never goes to a temporary file: data that a removal overwrites would stay there, outside the index.
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
    # Python runs signal handlers only between its own bytecodes; during a long statement this callback is the only one.
    connection.set_progress_handler(lambda: 0, _STEPS)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    # Some builds map files by default, and truncating a mapped file kills the process.
    connection.execute("PRAGMA mmap_size = 0")
    return connection


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Open the catalogue for writing; the caller holds the writer's lock."""
    refuse_links(path.parent)
    may_roll_back(path)
    connection = connect(path, mode="rw")
    try:
        connection.execute("PRAGMA page_size = 8192")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB:d}")
        connection.execute("PRAGMA secure_delete = ON")
        wanted = "TRUNCATE" if is_network(path.parent) else "WAL"
        with suppress(sqlite3.OperationalError):  # the mode cannot change while a reader is open
            connection.execute(f"PRAGMA journal_mode = {wanted}")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def open_for_reading(path: Path) -> sqlite3.Connection:
    """Open the catalogue read-only, even in a directory that cannot be written.

    In such a directory: without a WAL the file is opened as `immutable`; with a WAL and its shm file SQLite shares
    them; a WAL alone is read with its index in memory and without a lock, since nobody can write there.
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
    """Read from the file once, so that errors appear at opening."""
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def _roll_back(path: Path) -> None:
    """Roll back the transaction of a writer that died.

    Only a connection that may write can do that, so it happens under the writer's lock.
    """
    from facecli.store.disk.lock import WriterLock  # noqa: PLC0415 (rare; searches do not pay for this import)

    may_roll_back(path)
    lock = WriterLock(path.parent)
    lock.acquire(BUSY_SECONDS)
    try:
        open_for_writing(path).close()
    finally:
        lock.release()


def refuse_links(directory: Path, written: tuple[str, ...] = ()) -> None:
    """Raise IndexDamaged where an entry of the index is neither a regular file nor a directory.

    A symbolic link could lead anywhere. So could a hard link under one of the names in `written`, which are about to be
    overwritten.
    """
    with os.scandir(directory) as entries:
        for entry in entries:
            try:
                found = entry.stat(follow_symlinks=False)
            except FileNotFoundError:  # a writer has just ended, and its WAL with it
                continue
            folder = stat.S_ISDIR(found.st_mode) and entry.name not in written
            if not stat.S_ISREG(found.st_mode) and not folder:
                raise IndexDamaged(
                    "an entry of the index is not a regular file",
                    entry.path,
                    hint="remove it; facecli creates only regular files there",
                )
            if entry.name in written and found.st_nlink > 1:
                raise IndexDamaged(
                    "a file of the index has a second hard link", entry.path, hint="use a copy of the index (cp -r)"
                )


def schema_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the catalogue's version.

    Raises StoreError where a newer facecli made it, IndexDamaged where another program did or where it is empty.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    mark = int(connection.execute("PRAGMA application_id").fetchone()[0])
    if version == 0 and not definitions(connection):
        raise IndexDamaged("the catalogue is empty", path, hint="move the index away and index the photos again")
    if mark != APPLICATION_ID:
        raise IndexDamaged("the catalogue was made by another program", path)
    if version < 1:
        raise IndexDamaged("the catalogue has no version", path)
    if version > len(MIGRATIONS):
        raise StoreError(
            "the index was made by a newer facecli", path, hint="use that version, or -i DIR for another index"
        )
    if definitions(connection) != expected(MIGRATIONS[:version]):
        raise IndexDamaged("the catalogue's tables are not the ones that facecli creates", path)
    return version


@contextmanager
def transaction(connection: sqlite3.Connection, disk: Disk, what: str) -> Iterator[None]:
    """Run the block in a transaction: commit at its end, roll back on any exception."""
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
    """Run the block in a read transaction, so that all reads in it see one state."""
    if connection.in_transaction:
        yield
        return
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("COMMIT")
