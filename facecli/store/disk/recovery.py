"""SQLite's recovery files (journal, WAL, shm) beside a database are untrusted input, checked before SQLite opens them.

SQLite plays back a rollback journal on its own, and then deletes the file that the journal's last record names: the
super-journal of a transaction over several databases. facecli makes no such transactions, so a journal with such a
record was forged to delete a file.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from facecli.errors import IndexDamaged, StoreError
from facecli.store.disk.filesystem import is_network

JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""The first bytes of a journal, and the last ones of a journal that names a super-journal (SQLite's file format,
section 3; `readSuperJournal` in its pager)."""
_HEADER = struct.Struct(">8sIIIII")
_FILES = {"-journal": "journal", "-wal": "write-ahead log", "-shm": "shared memory"}
_NO_INDEX_OF_OURS = "facecli leaves no such file: get a new copy of the index, or index the photos again"


def refuse_forged(database: Path) -> None:
    """Raise IndexDamaged where a recovery file beside a database was not left there by SQLite.

    Each must be a regular file with one hard link and the database's owner, and a journal must name no super-journal.
    """
    for suffix, kind in _FILES.items():
        path = _beside(database, suffix)
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise IndexDamaged(f"the {kind} is not a regular file", path, hint="remove it; facecli creates none there")
        if found.st_nlink > 1:
            raise IndexDamaged(f"the {kind} has a second hard link", path, hint="use a copy of the index (cp -r)")
        if found.st_uid != os.lstat(database).st_uid:
            raise IndexDamaged(f"the {kind} belongs to another user than the catalogue", path, hint=_NO_INDEX_OF_OURS)
    _refuse_super_journal(_beside(database, "-journal"))


def may_roll_back(database: Path) -> None:
    """Raise unless SQLite may play back the journal of a database; the caller holds the writer's lock.

    Raises StoreError where the index belongs to another user or cannot be written, IndexDamaged where the journal does
    not belong to this database.
    """
    refuse_forged(database)
    journal = _beside(database, "-journal")
    head, size = _read(journal, 0, _HEADER.size), _size(journal)
    if not head or not head[0]:
        return
    if not _is_own(database):
        hint = "its owner can finish that with `facecli check --repair`"
        raise StoreError("a process died while it wrote to the index", database.parent, hint=hint)
    if len(head) == _HEADER.size and head.startswith(JOURNAL_MAGIC):
        _, _, _, pages, _, page_size = _HEADER.unpack(head)
        # The journal holds the pages that the transaction truncated; the database cannot grow beyond them.
        if pages * page_size > _size(database) + size:
            raise IndexDamaged("the journal does not belong to this catalogue", journal, hint=_NO_INDEX_OF_OURS)


def _refuse_super_journal(journal: Path) -> None:
    size = _size(journal)
    if size >= len(JOURNAL_MAGIC) and _read(journal, size - len(JOURNAL_MAGIC), len(JOURNAL_MAGIC)) == JOURNAL_MAGIC:
        raise IndexDamaged("the journal tells SQLite to delete another file", journal, hint=_NO_INDEX_OF_OURS)


def _is_own(database: Path) -> bool:
    """Whether the index belongs to this user and is writable."""
    files = (database.parent, database)
    return all(os.access(path, os.W_OK) for path in files) and {os.stat(path).st_uid for path in files} == {
        _own_number(database.parent)
    }


def _own_number(directory: Path) -> int:
    """This user's uid on the file system of a directory; a network server may map all users to one uid."""
    if not is_network(directory):
        return os.geteuid()
    from tempfile import TemporaryFile  # noqa: PLC0415  # rare

    with TemporaryFile(dir=directory) as file:
        return os.fstat(file.fileno()).st_uid


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def _read(path: Path, at: int, length: int) -> bytes:
    """Read bytes of a file, never through a symbolic link; empty where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, length, at)
    finally:
        os.close(descriptor)
