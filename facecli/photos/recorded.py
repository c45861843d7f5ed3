"""The content of a photo as it was indexed or used as a query; any other content is an error.

The paths in a received index were chosen by the person who made it, and are not trusted. So a file is opened without
blocking (it may be a pipe), only if it is a regular file (a device may never end), read no further than its recorded
size, and used only if its digest is the recorded one. Symbolic links to photos and directories are followed, since
people keep photos on other disks this way, and the digest decides.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import xxhash
from msgspec import Struct

from facecli.errors import PhotoError
from facecli.types import PhotoFile

PIECE = 1 << 20
CHANGED = "the photo is not the one that was indexed"


class Recorded(Struct, frozen=True):
    """A file with the recorded size and digest of its content."""

    file: PhotoFile
    digest: bytes

    @property
    def path(self) -> str:
        """Absolute path."""
        return self.file.path

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.file.size

    @property
    def mtime_ns(self) -> int:
        """Time of the last change, in nanoseconds."""
        return self.file.mtime_ns

    def pieces(self) -> Iterator[bytes]:
        """The content in pieces, valid only after the last one; raises PhotoError if it is not the recorded content."""
        descriptor = self._open()
        try:
            yield from self._read(descriptor)
        except OSError as error:
            raise _unreadable(error, self.path) from error
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """A descriptor of the file, checked to be a regular file of the recorded size."""
        try:
            self._ask_regular(os.stat(self.path))
            # Without O_NONBLOCK, opening would hang if a pipe has replaced the file.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise _unreadable(error, self.path) from error
        except ValueError as error:  # a path with a NUL
            raise PhotoError("no such photo", self.path) from error
        try:
            self._ask_regular(os.fstat(descriptor))
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _ask_regular(self, state: os.stat_result) -> None:
        if not stat.S_ISREG(state.st_mode):
            raise PhotoError(f"{CHANGED} (it is no longer a regular file)", self.path)
        if state.st_size != self.size:
            raise self.changed()

    def _read(self, descriptor: int) -> Iterator[bytes]:
        digest, left = xxhash.xxh3_128(), self.size
        while left:
            piece = os.read(descriptor, min(PIECE, left))
            if not piece:
                raise self.changed()
            digest.update(piece)
            left -= len(piece)
            yield piece
        if digest.digest() != self.digest:
            raise self.changed()

    def changed(self) -> PhotoError:
        """The error for a content that has changed."""
        return PhotoError(CHANGED, self.path)


def _unreadable(error: OSError, path: str) -> PhotoError:
    gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    return PhotoError("no such photo" if gone else f"the photo cannot be read ({error.strerror})", path)
