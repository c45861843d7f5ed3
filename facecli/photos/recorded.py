"""A photo's file as it was when it was indexed or asked with: what is given out is that content, or nothing.

A path is only a name, and in a received index whoever made it chose what it names. So a file is opened without waiting
for anybody (a pipe), only where it is a regular one (no device that never ends), read no further than its recorded
size, and trusted only once its digest is the recorded one. Links are followed, to photos and in the directories above:
they are how people keep photos on another disk, and the content decides.
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
    """A file and what is known of its content."""

    file: PhotoFile
    digest: bytes

    @property
    def path(self) -> str:
        """Absolute."""
        return self.file.path

    @property
    def size(self) -> int:
        """In bytes."""
        return self.file.size

    @property
    def mtime_ns(self) -> int:
        """When it was changed."""
        return self.file.mtime_ns

    def pieces(self) -> Iterator[bytes]:
        """The content in pieces, valid only once all have come; raises PhotoError if it is not what was recorded."""
        descriptor = self._open()
        try:
            yield from self._read(descriptor)
        except OSError as error:
            raise _unreadable(error, self.path) from error
        finally:
            os.close(descriptor)

    def _open(self) -> int:
        """A descriptor of the file, which is a regular one of the recorded size."""
        try:
            self._ask_regular(os.stat(self.path))
            # What took the file's place since then may be a pipe, whose opening waits without O_NONBLOCK.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise _unreadable(error, self.path) from error
        except ValueError as error:  # a path with a NUL, which no file has
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
        """The error for a content that is another one."""
        return PhotoError(CHANGED, self.path)


def _unreadable(error: OSError, path: str) -> PhotoError:
    gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    return PhotoError("no such photo" if gone else f"the photo cannot be read ({error.strerror})", path)
