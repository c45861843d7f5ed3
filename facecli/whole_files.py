"""Atomic writes: a file gets its final name only when it is complete.

It is written under a temporary name in the same directory. So an interrupted command never leaves an incomplete photo,
page or record; temporary files of a killed command are removed by the next one that writes there.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
from collections.abc import Iterable
from typing import IO, Self

BEGUN, UNFINISHED = ".facecli-", ".part"
"""Prefix and suffix of temporary names."""


class Part:
    """A file that is being written under a temporary name in its final directory; removed if it gets no final name."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._path = ""
        self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._path:
            # Where this is refused, as on a read-only disk, so was the file; what is left, the next command clears.
            with contextlib.suppress(OSError):
                os.unlink(self._path)
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def fill(self, pieces: Iterable[bytes], mtime_ns: int | None = None) -> None:
        """Write the content, readable by its owner only; a second call does nothing."""
        if self._path:
            return
        self._begin()
        with open(self._descriptor, "wb", closefd=False) as file:
            file.writelines(pieces)
        if mtime_ns is not None:
            with contextlib.suppress(OSError, OverflowError):  # a time that the file system cannot store
                os.utime(self._descriptor, ns=(mtime_ns, mtime_ns))

    @property
    def path(self) -> str:
        """Its temporary name; empty before it is begun."""
        return self._path

    def open(self) -> IO[bytes]:
        """The file, to be written and then closed, before it gets its name; readable by its owner only."""
        self._begin()
        return open(self._path, "r+b")

    def _begin(self) -> None:
        """Create the file. It is locked while it is open, so that `clear_parts` leaves it alone."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            # The name is set before the file is there, so that a signal in between leaves none.
            name = f"{BEGUN}{os.urandom(8).hex()}{UNFINISHED}"
            self._path = os.path.join(os.path.abspath(self._directory), name)
            self._descriptor = os.open(self._path, flags, 0o600)
            if _is_locked(self._descriptor) and os.fstat(self._descriptor).st_nlink:
                return
            os.close(self._descriptor)
            self._descriptor = -1

    def become(self, place: str) -> None:
        """Give the file its final name; raises FileExistsError if the name is taken."""
        try:
            os.link(self._path, place)
        except FileExistsError:
            raise
        except OSError:
            self._take_name(place)

    def _take_name(self, place: str) -> None:
        """The same on a file system without hard links: an empty file reserves the final name first."""
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            os.replace(self._path, place)
        except BaseException:
            os.unlink(place)
            raise

    def replace(self, place: str) -> None:
        """Give the file its final name and replace an earlier file."""
        os.replace(self._path, place)


def _is_locked(descriptor: int) -> bool:
    """Lock a file; False if another process holds the lock. True on a file system without locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def clear_parts(directory: str) -> None:
    """Remove temporary files that a killed command left: those that no process has locked."""
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
    """Write a file, readable by its owner only; an earlier file stays until the new one is complete."""
    folder = os.path.dirname(os.path.abspath(place))
    clear_parts(folder)
    with Part(folder) as part:
        part.fill(pieces)
        part.replace(place)


def make_folders(directory: str) -> bool:
    """Create a directory and its missing parents, each accessible to its owner only; returns whether it did not exist.

    os.makedirs would apply the mode to the last directory only.
    """
    if os.path.isdir(directory):
        return False
    above = os.path.dirname(directory.rstrip("/"))
    if above:
        make_folders(above)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        if not os.path.isdir(directory):
            raise
        return False
    return True
