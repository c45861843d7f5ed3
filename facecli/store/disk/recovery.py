"""SQLite's recovery files (journal, WAL, SHM) beside a database: input like any other, looked at before SQLite opens anything.

SQLite plays a rollback journal back by itself, and then deletes the file that the journal's last record names: the
super-journal of a transaction over several databases. facecli makes no such transaction, so that a journal with such a
record was made to delete somebody's file.
"""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

from facecli.errors import IndexDamaged, StoreError
from facecli.store.disk.filesystem import is_network

JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
"""Begins a journal, and ends one that names a super-journal (SQLite's file format, 3; `readSuperJournal` of its
pager)."""
_HEADER = struct.Struct(">8sIIIII")
_FILES = {"-journal": "journal", "-wal": "write-ahead log", "-shm": "shared memory"}
_NO_INDEX_OF_OURS = "facecli leaves none such: have the index sent anew, or index the photos"


def refuse_forged(database: Path) -> None:
    """Raise IndexDamaged where a file that SQLite would read or write beside a database is none that it left there."""
    for suffix, kind in _FILES.items():
        path = _beside(database, suffix)
        try:
            found = os.lstat(path)
        except FileNotFoundError:
            continue
        if not stat.S_ISREG(found.st_mode):
            raise IndexDamaged(f"the {kind} is no file", path, hint="remove it; facecli keeps none there")
        if found.st_nlink > 1:
            raise IndexDamaged(
                f"the {kind} is a file of another name, too", path, hint="use a copy of the index (cp -r)"
            )
        if found.st_uid != os.lstat(database).st_uid:
            raise IndexDamaged(f"the {kind} belongs to another user than the catalogue", path, hint=_NO_INDEX_OF_OURS)
    _refuse_super_journal(_beside(database, "-journal"))


def may_roll_back(database: Path) -> None:
    """Raise unless this user may have SQLite play back the journal of a database, to be asked under the writer's lock.

    StoreError where the index is another's or cannot be written; IndexDamaged where the journal is none of this
    database.
    """
    refuse_forged(database)
    journal = _beside(database, "-journal")
    head, size = _read(journal, 0, _HEADER.size), _size(journal)
    if not head or not head[0]:
        return
    if not _is_own(database):
        hint = "its owner finishes that with `facecli check --repair`"
        raise StoreError("a process died while it wrote to the index", database.parent, hint=hint)
    if len(head) == _HEADER.size and head.startswith(JOURNAL_MAGIC):
        _, _, _, pages, _, page_size = _HEADER.unpack(head)
        # What the transaction cut off stands in the journal; a database that would grow beyond that is another's.
        if pages * page_size > _size(database) + size:
            raise IndexDamaged("the journal is none of this catalogue", journal, hint=_NO_INDEX_OF_OURS)


def _refuse_super_journal(journal: Path) -> None:
    size = _size(journal)
    if size >= len(JOURNAL_MAGIC) and _read(journal, size - len(JOURNAL_MAGIC), len(JOURNAL_MAGIC)) == JOURNAL_MAGIC:
        raise IndexDamaged("the journal tells SQLite to delete another file", journal, hint=_NO_INDEX_OF_OURS)


def _is_own(database: Path) -> bool:
    """Whether the index is this user's, who may write there."""
    files = (database.parent, database)
    return all(os.access(path, os.W_OK) for path in files) and {os.stat(path).st_uid for path in files} == {
        _own_number(database.parent)
    }


def _own_number(directory: Path) -> int:
    """The number that this user has where a directory lies: the server of a network file system may know all its clients by one."""
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
    """Some bytes of a file, never through a link; none where there is no such file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return b""
    try:
        return os.pread(descriptor, length, at)
    finally:
        os.close(descriptor)
