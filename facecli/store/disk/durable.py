"""Durable writes, each between two calls of a hook at which tests end the process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

Step = Callable[[str], None]


def no_step(step: str) -> None:
    """The hook of everyday: nothing happens at a step."""


class Disk:
    """The store's way to the disk."""

    def __init__(self, at: Step = no_step) -> None:
        self._at = at

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Name what happens inside: the hook is called before and after it."""
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
        """Wait until a file's bytes are on the disk itself."""
        with self.step(f"fsync {what}"):
            full = getattr(fcntl, "F_FULLFSYNC", None)
            if full is None:
                os.fsync(descriptor)
            else:
                fcntl.fcntl(descriptor, full)

    def sync_directory(self, directory: Path) -> None:
        """Make the names in a directory durable."""
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
        """Take a file away, if it is there."""
        with self.step(f"unlink {what}"):
            path.unlink(missing_ok=True)


def create_private(path: Path) -> int:
    """Make a new file that its owner alone can read, whatever the umask; the descriptor, open for reading and writing."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    os.fchmod(descriptor, 0o600)
    return descriptor
