"""Temporary folders of the cache.

Each is locked while its process lives, so that a later run can recognise and remove what a killed process left.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from facecli.whole_files import clear_parts

PREFIX = ".new-"


@contextlib.contextmanager
def scratch_folder(directory: Path) -> Iterator[Path]:
    """Create a folder in `directory` that is removed after the block; raises OSError if it cannot be created."""
    import tempfile  # noqa: PLC0415 (most runs write nothing)

    with _handle(directory) as above:
        _lock(above, fcntl.LOCK_SH)
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=directory))
        own = os.open(path, os.O_RDONLY)
        _lock(own, fcntl.LOCK_EX)
    try:
        yield path
    finally:
        _remove(path)
        os.close(own)


def sweep(directory: Path) -> None:
    """Remove the folders and files that ended processes left in `directory`; ignores what cannot be removed."""
    with contextlib.suppress(OSError):
        clear_parts(str(directory))
        left = [entry.path for entry in os.scandir(directory) if entry.name.startswith(PREFIX)]
        if not left:
            return
        with _handle(directory) as above:
            # A folder that another process has just created may not be locked yet.
            if _lock(above, fcntl.LOCK_EX):
                for path in left:
                    _remove_abandoned(path)


def _remove_abandoned(path: str) -> None:
    with contextlib.suppress(OSError), _handle(path) as own:
        if _lock(own, fcntl.LOCK_EX):
            _remove(path)


def _remove(path: str | Path) -> None:
    import shutil  # noqa: PLC0415 (most runs remove nothing)

    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)


@contextlib.contextmanager
def _handle(path: str | Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield handle
    finally:
        os.close(handle)


def _lock(handle: int, kind: int) -> bool:
    """Try to take the lock; whether it was free. The system releases it when the process ends, even when killed."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
