"""Leave no trace of an index that a failed command has made but not filled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facecli.errors import FacecliError
from facecli.store.disk.lock import LOCK, WriterLock
from facecli.store.locate import is_index
from facecli.store.maintenance.create import OWN
from facecli.store.reader import open_reader


@contextmanager
def removed_if_unfilled(directory: Path) -> Iterator[None]:
    """Remove an index that the block makes, and its directory, if the block fails before anything is recorded in it."""
    has_directory, has_index = directory.exists(), is_index(directory)
    try:
        yield
    except BaseException:
        if not has_index and directory.is_dir():  # the lock would make it, and its parents
            with suppress(FacecliError, OSError):
                _remove(directory)
        if not has_directory:
            with suppress(OSError):
                directory.rmdir()
        raise


def _remove(directory: Path) -> None:
    """Remove the files of an index without photos, under its lock: another process may have begun to write there."""
    lock = WriterLock(directory)
    lock.acquire(0.0)
    try:
        if not _is_filled(directory):
            own = filter(OWN.fullmatch, os.listdir(directory))
            for name in sorted(own, key=lambda name: name == LOCK):
                (directory / name).unlink(missing_ok=True)
    finally:
        lock.release()


def _is_filled(directory: Path) -> bool:
    if not is_index(directory):
        return False
    with open_reader(directory) as reader:
        return bool(reader.info.photos or reader.info.skipped)
