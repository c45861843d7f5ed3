"""Put files into a directory without ever writing over one that is there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import xxhash

from facecli.config import CATALOGUE_NAME, INDEX_MARK, INDEX_NAME
from facecli.errors import OutputError, check_name
from facecli.whole_files import Part, clear_parts, make_folders, write_whole

LONGEST_NAME = 255
"""Bytes of a file's name, on the file systems that matter."""
WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP)
"""What a file system says that has no symbolic links."""
PIECE = 1 << 20


class Original(Protocol):
    """A file whose content is known before it is read."""

    @property
    def path(self) -> str:
        """Absolute."""

    @property
    def size(self) -> int:
        """In bytes."""

    @property
    def mtime_ns(self) -> int:
        """When it was changed."""

    @property
    def digest(self) -> bytes:
        """XXH3-128 of its content."""

    def pieces(self) -> Iterator[bytes]:
        """Its content; raises PhotoError where that is not what is known, after the last piece at the latest."""


class Folder:
    """A directory that is being filled; made when the first file comes."""

    def __init__(self, directory: str, *, dry_run: bool = False) -> None:
        refuse_index(directory)
        self.directory = directory
        self.dry_run = dry_run
        self.made = 0
        """Files that were put there, and not found there from an earlier run."""
        self._taken: set[str] = set()
        self._is_ready = False

    def link(self, original: Original) -> str:
        """A symbolic link to a file that is what is known of it; where it stands, or would stand."""
        _read_through(original)
        return self._add(_name_of(original), lambda place: _link(original.path, place), lambda place: _points_to(place, original.path))

    def copy(self, original: Original) -> str:
        """A copy, for its owner alone, with the time of the original; where it stands, or would stand."""
        if self.dry_run:
            _read_through(original)
        with Part(self.directory) as part:

            def put(place: str) -> None:
                part.fill(original.pieces(), original.mtime_ns)
                part.become(place)

            return self._add(_name_of(original), put, lambda place: _holds(place, original))

    def write(self, name: str, data: bytes) -> str:
        """A new file of these bytes."""
        with Part(self.directory) as part:

            def put(place: str) -> None:
                part.fill([data])
                part.become(place)

            return self._add(name, put, lambda place: _has_bytes(place, data))

    def _add(self, name: str, put: Callable[[str], None], is_done: Callable[[str], bool]) -> str:
        """Put a file under the first name that is free; one of an earlier run that is the very same counts as done."""
        number = 1
        while True:
            place = os.path.join(self.directory, numbered(name, number))
            number += 1
            if place in self._taken:
                continue
            if not os.path.lexists(place):
                if not self._put(place, put):
                    continue
            elif not is_done(place):
                continue
            self._taken.add(place)
            return place

    def _put(self, place: str, put: Callable[[str], None]) -> bool:
        """Whether it was put there; False where another process took the name first."""
        if self.dry_run:
            return True
        try:
            self._make_ready()
            put(place)
            self.made += 1
        except FileExistsError as error:
            if os.path.isdir(self.directory):
                return False
            raise OutputError("not a directory", self.directory) from error
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", place) from error
        return True

    def _make_ready(self) -> None:
        if not self._is_ready:
            make_folders(self.directory)
            clear_parts(self.directory)
        self._is_ready = True


def refuse_index(target: str) -> None:
    """Raise OutputError where a file or directory is an index or lies in one, by whatever links, or would be taken for one.

    What facecli did not put there locks the index out.
    """
    real = os.path.realpath(check_name(target, "where files are to be put"))
    while True:
        if os.path.basename(real) == INDEX_NAME or _is_catalogue(os.path.join(real, CATALOGUE_NAME)):
            raise OutputError("nothing is put into an index", target, hint="name another place")
        above = os.path.dirname(real)
        if above == real:
            return
        real = above


def _is_catalogue(place: str) -> bool:
    """Whether a file is the catalogue of an index, by the mark that stands in its header as SQLite's application_id."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        head = os.pread(file.fileno(), 100, 0) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    return head.startswith(b"SQLite format 3\0") and head[68:72] == INDEX_MARK.to_bytes(4, "big")


def numbered(name: str, number: int) -> str:
    """The name, from 2 on with the number before its ending, within what a file system takes."""
    stem, ending = os.path.splitext(name)
    suffix = f"-{number}{ending}" if number > 1 else ending
    room = LONGEST_NAME - len(os.fsencode(suffix))
    return os.fsdecode(os.fsencode(stem)[:room]) + suffix


def _name_of(original: Original) -> str:
    """The file's own name without the dots that would hide it: no photo comes out as .profile, or as an index."""
    return os.path.basename(original.path).lstrip(".") or "photo"


def _read_through(original: Original) -> None:
    for _ in original.pieces():
        pass


def _link(source: str, place: str) -> None:
    try:
        os.symlink(source, place)
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        hint = "this file system may know no links; --copy-to makes copies"
        raise OutputError(f"cannot be written ({error.strerror})", place, hint=hint) from error


def _points_to(place: str, source: str) -> bool:
    return os.path.islink(place) and os.readlink(place) == source


def _has_bytes(place: str, data: bytes) -> bool:
    return b"".join(_contents(place, len(data))) == data


def _holds(place: str, original: Original) -> bool:
    """Whether a file has the content that is known of the original."""
    digest = xxhash.xxh3_128()
    for piece in _contents(place, original.size):
        digest.update(piece)
    return digest.digest() == original.digest


def _contents(place: str, size: int) -> Iterator[bytes]:
    """The content of a regular file of this size in pieces; nothing of any other, or of one that cannot be read."""
    with contextlib.suppress(OSError):
        state = os.lstat(place)
        if stat.S_ISREG(state.st_mode) and state.st_size == size:
            with open(place, "rb") as file:
                while piece := file.read(PIECE):
                    yield piece


def replace_file(place: str, pieces: Iterable[bytes]) -> None:
    """Write a file, for its owner alone, in the place of an earlier one, which stands until the new one is whole."""
    refuse_index(place)
    try:
        write_whole(place, pieces)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", place) from error
