"""Durable writes; a hook before and after each lets tests kill the process there."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Step = Callable[[str], None]


def no_step(step: str) -> None:
    """The default hook, which does nothing."""


class Disk:
    """The disk operations of the store."""

    def __init__(self, at: Step = no_step) -> None:
        self._at = at

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Call the hook before and after the block."""
        self._at(f"before {what}")
        yield
        self._at(f"after {what}")

    def write(self, descriptor: int, data: bytes | memoryview, offset: int, what: str) -> None:
        """Write all of `data` at `offset`."""
        with self.step(f"write {what}"):
            rest = memoryview(data)
            while rest:
                done = os.pwrite(descriptor, rest, offset)
                rest, offset = rest[done:], offset + done

    def sync(self, descriptor: int, what: str) -> None:
        """Wait until a file's data is on the disk (fsync, or F_FULLFSYNC where there is one)."""
        with self.step(f"fsync {what}"):
            full = getattr(fcntl, "F_FULLFSYNC", None)
            if full is None:
                os.fsync(descriptor)
            else:
                fcntl.fcntl(descriptor, full)

    def sync_directory(self, directory: Path) -> None:
        """Make the entries of a directory durable."""
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with self.step("fsync directory"), suppress(PermissionError):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def replace(self, source: Path, target: Path, what: str) -> None:
        """Rename a file over another."""
        with self.step(f"rename {what}"):
            source.replace(target)

    def unlink(self, path: Path, what: str) -> None:
        """Delete a file if it exists."""
        with self.step(f"unlink {what}"):
            path.unlink(missing_ok=True)


def create_private(path: Path) -> int:
    """Create a file with mode 0600, whatever the umask, and return its descriptor, open for reading and writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
