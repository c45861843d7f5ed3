"""Put files into a directory without ever writing over one that is there."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Callable, Iterable

from facecli.errors import OutputError

LONGEST_NAME = 255
"""Bytes of a file's name, on the file systems that matter."""
OWNER_ONLY = 0o600
WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP)
"""What a file system says that has no symbolic links."""


class Folder:
    """A directory that is being filled; made when the first file comes."""

    def __init__(self, directory: str, *, dry_run: bool = False) -> None:
        self.directory = directory
        self.dry_run = dry_run
        self.made = 0
        """Files that were put there, and not found there from an earlier run."""
        self._taken: set[str] = set()

    def link(self, source: str) -> str:
        """A symbolic link to an absolute path; where it stands, or would stand."""
        return self._add(os.path.basename(source), lambda place: os.symlink(source, place), lambda place: _points_to(place, source))

    def copy(self, source: str) -> str:
        """A copy, for its owner alone, with the time of the original; raises OSError where the original cannot be read."""
        with open(source, "rb"):
            pass
        return self._add(os.path.basename(source), lambda place: _copy(source, place), lambda place: _same_bytes(place, source))

    def write(self, name: str, data: bytes) -> str:
        """A new file of these bytes."""
        return self._add(name, lambda place: write_new(place, data), lambda place: _holds(place, data))

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
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            put(place)
            self.made += 1
        except FileExistsError as error:
            if os.path.isdir(self.directory):
                return False
            raise OutputError("not a directory", self.directory) from error
        except OSError as error:
            hint = "this file system may know no links; --copy-to makes copies" if error.errno in WITHOUT_LINKS else ""
            raise OutputError(f"cannot be written ({error.strerror})", place, hint=hint) from error
        return True


def numbered(name: str, number: int) -> str:
    """The name, from 2 on with the number before its ending, within what a file system takes."""
    stem, ending = os.path.splitext(name)
    suffix = f"-{number}{ending}" if number > 1 else ending
    room = LONGEST_NAME - len(os.fsencode(suffix))
    return os.fsdecode(os.fsencode(stem)[:room]) + suffix


def write_new(place: str, data: bytes) -> None:
    """Write a file that must not exist yet, for its owner alone."""
    with open(place, "xb", opener=_owner_only) as file:
        file.write(data)


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, OWNER_ONLY)


def _copy(source: str, place: str) -> None:
    with open(source, "rb") as original, open(place, "xb", opener=_owner_only) as copy:
        try:
            shutil.copyfileobj(original, copy)
            copy.flush()
            status = os.fstat(original.fileno())
            os.utime(copy.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        except BaseException:
            os.unlink(place)
            raise


def _points_to(place: str, source: str) -> bool:
    return os.path.islink(place) and os.readlink(place) == source


def _same_bytes(place: str, source: str) -> bool:
    return os.path.isfile(place) and not os.path.islink(place) and filecmp.cmp(place, source, shallow=False)


def _holds(place: str, data: bytes) -> bool:
    if not os.path.isfile(place) or os.path.getsize(place) != len(data):
        return False
    with open(place, "rb") as file:
        return file.read() == data


def replace_file(place: str, pieces: Iterable[bytes]) -> None:
    """Write a file, for its owner alone, in the place of an earlier one, which stands until the new one is whole."""
    beside = f"{place}.{os.getpid()}.part"
    try:
        with open(beside, "xb", opener=_owner_only) as file:
            file.writelines(pieces)
        os.replace(beside, place)
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", place) from error
    finally:
        if os.path.lexists(beside):
            os.unlink(beside)
