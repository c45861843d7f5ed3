"""Turn low-level errors into those of facecli/errors.py: full disks, missing permissions, damage, locks."""

from __future__ import annotations

import errno
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facecli.config import CATALOGUE_NAME
from facecli.errors import IndexDamaged, IndexLocked, StoreError
from facecli.wording import command_on

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


def repair_hint(path: object) -> str:
    """The command that repairs the index of a catalogue or a directory, to the letter: a merge reads several."""
    place = Path(str(path))
    directory = place.parent if place.name == CATALOGUE_NAME else place
    return f"{command_on(directory, 'check --repair')} repairs what it can"


@contextmanager
def explained(path: object) -> Iterator[None]:
    """Turn errors of SQLite and the operating system into a StoreError about `path`."""
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            # SQLite loses what a signal handler raised during a statement; nothing else interrupts one.
            raise KeyboardInterrupt from error
        raise _from_sqlite(error, path) from error
    except (UnicodeDecodeError, OverflowError) as error:
        raise IndexDamaged("the catalogue holds something that cannot be read", path, hint=repair_hint(path)) from error
    except OSError as error:
        raise _from_system(error, path) from error


@contextmanager
def trusted(path: object) -> Iterator[None]:
    """Turn the errors that a forged or damaged row causes in the code that reads it into IndexDamaged."""
    try:
        yield
    except (struct.error, ValueError, TypeError, KeyError, OverflowError, IndexError, RecursionError) as error:
        raise IndexDamaged(
            "the index holds a value that facecli did not write", path, hint=repair_hint(path)
        ) from error


def _from_sqlite(error: sqlite3.Error, path: object) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    # A reader, too, needs room: for the memory that it shares with a writer.
    if code == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE:
        return _full(path)
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return IndexLocked(
            "another process has locked the catalogue", path, hint="wait for it to end and run the command again"
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return _denied(path)
    if code == sqlite3.SQLITE_IOERR:
        return StoreError(
            f"the catalogue cannot be read or written ({error})",
            path,
            hint="check the disk: its space, its limits, its health",
        )
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return IndexDamaged(
            f"the catalogue is damaged ({error})",
            path,
            hint=f"{repair_hint(path)}; otherwise move the index away and index the photos again",
        )
    return IndexDamaged(f"the catalogue cannot be used ({error})", path, hint=repair_hint(path))


def _from_system(error: OSError, path: object) -> StoreError:
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else path
    if error.errno in _FULL:
        return _full(place)
    if error.errno in _DENIED:
        return _denied(place)
    if error.errno == errno.ELOOP:
        return IndexDamaged("the index contains a symbolic link", place, hint="remove it; facecli creates none there")
    return StoreError(f"the index cannot be read or written ({error.strerror})", place)


def _full(path: object) -> StoreError:
    return StoreError(
        "no space left for the index",
        path,
        hint="free some space and run the command again; committed batches are kept",
    )


def _denied(path: object) -> StoreError:
    return StoreError(
        "the index cannot be opened or written", path, hint="its owner and permissions must let you write there"
    )
