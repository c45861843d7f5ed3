"""The writer's lock, which ends with the process that holds it, and a record of that process."""

from __future__ import annotations

import errno
import json
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

from facecli.errors import IndexLocked, StoreError
from facecli.store.disk.durable import create_private

LOCK = "lock"
HOLDER = "lock-holder"
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)


class WriterLock:
    """An flock on a file of the index; the kernel releases it when the process dies."""

    def __init__(self, directory: Path) -> None:
        from filelock import FileLock  # noqa: PLC0415 (readers take no lock and do not pay for this import)

        self._directory = directory
        self._lock = FileLock(directory / LOCK, mode=0o600, thread_local=False, fallback_to_soft=False)

    def acquire(self, wait_seconds: float) -> None:
        """Take the lock.

        Raises IndexLocked, which names the holder, where another process holds it for longer than `wait_seconds`, and
        StoreError where the file system does not support locks.
        """
        from filelock import Timeout  # noqa: PLC0415 (as above)

        try:
            self._lock.acquire(timeout=max(0.0, wait_seconds), poll_interval=0.05)
        except Timeout:
            raise IndexLocked(
                f"another process writes to the index ({self._holder()})",
                self._directory,
                hint="wait for it, or let facecli wait: --wait SECONDS",
            ) from None
        except NotImplementedError:
            raise _no_locks(self._directory) from None
        except OSError as error:
            if error.errno in _NO_LOCKS:
                raise _no_locks(self._directory) from error
            raise
        self._sign()

    def release(self) -> None:
        """Release the lock."""
        with suppress(OSError):
            (self._directory / HOLDER).unlink(missing_ok=True)
        self._lock.release()

    def _sign(self) -> None:
        """Record who holds the lock; errors are ignored, since a full disk must not prevent a removal."""
        record = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        path = self._directory / HOLDER
        with suppress(OSError):
            path.unlink(missing_ok=True)
            descriptor = create_private(path)
            try:
                os.write(descriptor, json.dumps(record).encode())
            finally:
                os.close(descriptor)

    def _holder(self) -> str:
        try:
            descriptor = os.open(self._directory / HOLDER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                record = json.loads(os.read(descriptor, 4096))
            finally:
                os.close(descriptor)
            return f"process {record['pid']} on {record['host']} since {record['since']}"
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return "unknown process"


def _no_locks(directory: Path) -> StoreError:
    return StoreError(
        "the file system of the index does not support locks",
        directory,
        hint="keep the index on another disk and name it with -i DIR",
    )
