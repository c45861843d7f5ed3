"""Write files into a directory without overwriting existing files."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import xxhash

from facecli.config import CATALOGUE_NAME, INDEX_MARK, INDEX_NAME, OUTPUT_NAME
from facecli.errors import OutputError, check_name
from facecli.whole_files import Part, clear_parts, make_folders, write_whole

LONGEST_NAME = 255
"""Maximum bytes of a file name on common file systems."""
WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP)
"""Errors of file systems without symbolic links."""
PIECE = 1 << 20
MARK = b"""facecli made this folder for copies, links or crops of photos that it had found.
As long as this file is here, facecli index does not read the folder.
"""


class Original(Protocol):
    """A file with a known digest, such as an indexed photo."""

    @property
    def path(self) -> str:
        """The absolute path."""

    @property
    def size(self) -> int:
        """The size in bytes."""

    @property
    def mtime_ns(self) -> int:
        """The modification time in nanoseconds since 1970."""

    @property
    def digest(self) -> bytes:
        """The XXH3-128 of the content."""

    def pieces(self) -> Iterator[bytes]:
        """Yield the content; raises PhotoError, at the latest after the last piece, if it does not match the digest."""


class Folder:
    """A directory that files are written to; created with the first file, and then marked as facecli's own."""

    def __init__(self, directory: str, *, dry_run: bool = False) -> None:
        refuse_index(directory)
        self.directory = directory
        self.dry_run = dry_run
        self.made = 0
        """Number of files created; files found from an earlier run do not count."""
        self._taken: set[str] = set()
        self._is_ready = False

    def link(self, original: Original) -> str:
        """Create a symbolic link to a file after checking its content; returns the path of the link."""
        _read_through(original)
        return self._add(
            _name_of(original),
            lambda place: _link(original.path, place),
            lambda place: _points_to(place, original.path),
        )

    def copy(self, original: Original) -> str:
        """Create a copy, readable by its owner only, with the original's mtime; returns the path of the copy."""
        if self.dry_run:
            _read_through(original)
        with Part(self.directory) as part:

            def put(place: str) -> None:
                part.fill(original.pieces(), original.mtime_ns)
                part.become(place)

            return self._add(_name_of(original), put, lambda place: _holds(place, original))

    def write(self, name: str, data: bytes) -> str:
        """Write a new file; returns its path."""
        with Part(self.directory) as part:

            def put(place: str) -> None:
                part.fill([data])
                part.become(place)

            return self._add(name, put, lambda place: _has_bytes(place, data))

    def _add(self, name: str, put: Callable[[str], None], is_done: Callable[[str], bool]) -> str:
        """Create a file under the first free name, unless an earlier run created the same file; returns its path."""
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
        """Create the file; False if another process took the name first."""
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
            if make_folders(self.directory):
                _mark(self.directory)
            clear_parts(self.directory)
        self._is_ready = True


def _mark(directory: str) -> None:
    """Mark a directory that facecli has just made, so that `facecli index` does not read it."""
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        contextlib.suppress(FileExistsError),
        open(os.open(os.path.join(directory, OUTPUT_NAME), flags, 0o600), "wb") as file,
    ):
        file.write(MARK)


def refuse_index(target: str) -> None:
    """Raise OutputError if a path is an index, is inside one (also through links), or has the name of one.

    An index with foreign files in it is refused by facecli.
    """
    real = os.path.realpath(check_name(target, "the place to write to"))
    while True:
        if os.path.basename(real) == INDEX_NAME or _is_catalogue(os.path.join(real, CATALOGUE_NAME)):
            raise OutputError("cannot write into an index", target, hint="name another place")
        above = os.path.dirname(real)
        if above == real:
            return
        real = above


def _is_catalogue(place: str) -> bool:
    """Whether a file is the catalogue of an index, by SQLite's application_id in its header."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    with open(descriptor, "rb") as file:
        head = os.pread(file.fileno(), 100, 0) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    return head.startswith(b"SQLite format 3\0") and head[68:72] == INDEX_MARK.to_bytes(4, "big")


def numbered(name: str, number: int) -> str:
    """Add a number from 2 on before the extension of a name; cut the name to LONGEST_NAME bytes."""
    stem, ending = os.path.splitext(name)
    suffix = f"-{number}{ending}" if number > 1 else ending
    room = LONGEST_NAME - len(os.fsencode(suffix))
    return os.fsdecode(os.fsencode(stem)[:room]) + suffix


def _name_of(original: Original) -> str:
    """The base name without leading dots, so that no photo becomes a hidden file such as .profile, or an index."""
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
    """Whether a file has the same digest as the original."""
    digest = xxhash.xxh3_128()
    for piece in _contents(place, original.size):
        digest.update(piece)
    return digest.digest() == original.digest


def _contents(place: str, size: int) -> Iterator[bytes]:
    """Yield the content of a regular file of this size in pieces; nothing for other or unreadable files."""
    with contextlib.suppress(OSError):
        state = os.lstat(place)
        if stat.S_ISREG(state.st_mode) and state.st_size == size:
            with open(place, "rb") as file:
                while piece := file.read(PIECE):
                    yield piece


def refuse_other_kinds(place: str) -> None:
    """Raise OutputError if a directory, a device or another thing that is no file would be replaced."""
    if os.path.lexists(place) and not os.path.isfile(place) and not os.path.islink(place):
        raise OutputError("a directory" if os.path.isdir(place) else "not a regular file", place)


def replace_file(place: str, pieces: Iterable[bytes]) -> None:
    """Write a file, readable by its owner only; an earlier file stays until the new one is complete."""
    refuse_index(place)
    refuse_other_kinds(place)
    try:
        write_whole(place, pieces)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", place) from error
