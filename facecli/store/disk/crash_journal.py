"""A journal of the contents being decoded, so that after a crash the next run decodes them in isolation."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

JOURNAL = "in-flight"
_RECORD = 17
_MOST = 1024
"""The most records in a journal. Each thread of a run needs one; any further threads do without."""
_ABSENT = -1
"""The descriptor of a file that could not be opened, and the slot of a record for which there is no room."""


class CrashJournal:
    """A small file with a record for each content that is being decoded or was when a run died; thread-safe.

    A record is one byte, the number of runs that died with this content in flight (counting the current run as if it
    died now), and a keyed hash of the content; nothing else about a removed photo is kept here. Nothing is synced: a
    process that dies loses no writes, and after a power loss photos are simply decoded as usual. Errors of the file do
    not end a run either: photos are then decoded as if no run had died.
    """

    def __init__(self, directory: Path, token: Callable[[bytes], bytes]) -> None:
        """Open the journal of the index in `directory`; `token` maps a content's digest to its keyed hash, 16 bytes."""
        self._path, self._token = directory / JOURNAL, token
        self._lock = threading.Lock()
        self.trouble = ""
        """A message about why the journal is not complete; empty where it is."""
        self._descriptor, data = _ABSENT, b""
        try:
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.fchmod(self._descriptor, 0o600)
            data = os.pread(self._descriptor, _RECORD * _MOST, 0)
        except OSError as error:
            self._note(error)
        whole = len(data) // _RECORD * _RECORD
        records = [data[i : i + _RECORD] for i in range(0, whole, _RECORD)]
        self._suspects = {record[1:]: (slot, record[0]) for slot, record in enumerate(records) if record[0]}
        """The slot and the number of deaths of each content that was in flight when an earlier run died."""
        self._free = [slot for slot in reversed(range(_MOST)) if slot >= len(records) or not records[slot][0]]

    @contextmanager
    def in_flight(self, digest: bytes) -> Iterator[int]:
        """Record a content while the block runs; yields the number of earlier runs that died with it in flight."""
        token = self._token(digest)
        with self._lock:
            slot, deaths = self._suspects.pop(token, (_ABSENT, 0))
            if slot == _ABSENT:
                slot = self._free.pop() if self._free else self._forget_a_suspect()
            self._write(slot, bytes([min(deaths + 1, 255)]) + token)
        try:
            yield deaths
        finally:
            with self._lock:
                self._write(slot, bytes(_RECORD))
                if slot != _ABSENT:
                    self._free.append(slot)

    def _forget_a_suspect(self) -> int:
        """Free the slot of the oldest suspect, whose photo did not appear among a thousand others.

        Returns _ABSENT where there is no suspect, because all records are in flight.
        """
        oldest = next(iter(self._suspects), None)
        return _ABSENT if oldest is None else self._suspects.pop(oldest)[0]

    def _write(self, slot: int, record: bytes) -> None:
        if _ABSENT in (self._descriptor, slot):
            return
        try:
            os.pwrite(self._descriptor, record, slot * _RECORD)
        except OSError as error:
            self._note(error)

    def _note(self, error: OSError) -> None:
        self.trouble = (
            f"cannot record which photos are being decoded, so after a crash the next run will not know them "
            f"({error.strerror}): {self._path}"
        )

    def close(self) -> None:
        """Close the file, and delete it where no suspects are left."""
        try:
            if self._descriptor != _ABSENT:
                os.close(self._descriptor)
            if not self._suspects:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            self._note(error)
