"""Files that have their name only when they are whole.

Each is written under a name of its own beside its place. An interrupted command leaves nothing half done that somebody
might take for a photo, a page or a record, and what a killed one left is cleared by the next that writes there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterable
from typing import Self

BEGUN, UNFINISHED = ".facecli-", ".part"
"""How the name of a file begins and ends that is being written."""


class Part:
    """A file that is being written, under a name of its own in the directory where it belongs; taken away unless it becomes something."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = ""
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            os.close(self._descriptor)

    def fill(self, pieces: Iterable[bytes], mtime_ns: int | None = None) -> None:
        """Write it, for its owner alone; nothing the second time."""
        if self._path:
            return
        self._descriptor, self._path = _begin(self._directory)
        with open(self._descriptor, "wb", closefd=False) as file:
            file.writelines(pieces)
        if mtime_ns is not None:
            with contextlib.suppress(OSError, OverflowError):  # a time that this file system does not keep
                os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))

    def become(self, place: str) -> None:
        """Give it a final name that is free; raises FileExistsError where it is not."""
        try:
            os.link(self._path, place)
        except FileExistsError:
            raise
        except OSError:
            self._take_name(place)

    def _take_name(self, place: str) -> None:
        """The same where the file system knows no second name of a file: the final one is taken by an empty file first."""
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            os.replace(self._path, place)
        except OSError:
            os.unlink(place)
            raise

    def replace(self, place: str) -> None:
        """Give it a final name, whose earlier file is gone then."""
        os.replace(self._path, place)


def _begin(directory: str) -> tuple[int, str]:
    """A new file and its path, locked as long as it is open, by which `clear_parts` knows that somebody writes it."""
    import tempfile  # noqa: PLC0415 (most commands write no file)

    while True:
        descriptor, path = tempfile.mkstemp(UNFINISHED, BEGUN, os.path.abspath(directory))
        if _is_locked(descriptor) and os.fstat(descriptor).st_nlink:
            return descriptor, path
        os.close(descriptor)


def _is_locked(descriptor: int) -> bool:
    """Lock a file; False where another process holds it. A file system without locks has none that could."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def clear_parts(directory: str) -> None:
    """Take away what a killed command left half written: parts that nobody holds any more."""
    name = re.compile(f"{re.escape(BEGUN)}.+{re.escape(UNFINISHED)}")
    for left in filter(name.fullmatch, os.listdir(directory)):
        with contextlib.suppress(OSError):
            _clear_part(os.path.join(directory, left))


def _clear_part(path: str) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
    finally:
        os.close(descriptor)


def write_whole(place: str, pieces: Iterable[bytes]) -> None:
    """Write a file, for its owner alone, in the place of an earlier one, which stands until the new one is whole."""
    folder = os.path.dirname(os.path.abspath(place))
    clear_parts(folder)
    with Part(folder) as part:
        part.fill(pieces)
        part.replace(place)


def make_folders(directory: str) -> None:
    """Make a directory and those above it that are missing, each for its owner alone: os.makedirs would ask that of the last one only."""
    if os.path.isdir(directory):
        return
    above = os.path.dirname(directory.rstrip("/"))
    if above:
        make_folders(above)
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    if not os.path.isdir(directory):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), directory)
