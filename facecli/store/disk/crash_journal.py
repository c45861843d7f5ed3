"""Which contents were being decoded when a run died, so that they are decoded apart the next time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

JOURNAL = "in-flight"
_RECORD = 17
_MOST = 1024
"""Records that a journal may hold; the threads of a run need one each, and those beyond go without."""
_ABSENT = -1
"""Stands for a file that could not be opened, and for a record that there is no place for."""


class CrashJournal:
    """A small file of records, one for each content that is being decoded or was when a run died; thread-safe.

    A record is the number of runs that died with this content in flight, were this one to die now, and a keyed hash of
    the content: of a photo that is removed nothing else remains here. Nothing is synced, for the death of a process
    loses no write, and after the death of the machine a photo is merely decoded as any other. For the same reason no
    run ends for want of it: where it cannot be read or written, photos are decoded as if no run had died.
    """

    def __init__(self, directory: Path, token: Callable[[bytes], bytes]) -> None:
        """Open the journal of the index in `directory`; `token` gives the keyed hash of a content's digest, 16 bytes."""
        self._path, self._token = directory / JOURNAL, token
        self._lock = threading.Lock()
        self.trouble = ""
        """Why the journal is not whole, in words; empty where it is."""
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
        """Slot and number of deaths of each content that an earlier run died with."""
        self._free = [slot for slot in reversed(range(_MOST)) if slot >= len(records) or not records[slot][0]]

    @contextmanager
    def in_flight(self, digest: bytes) -> Iterator[int]:
        """Note a content while the block runs; gives the number of runs that died with it in flight."""
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
        """The slot of the suspect that has stood longest: its photo has not come by for a thousand others; none where all are in flight."""
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
        self.trouble = f"what is being decoded cannot be noted, for the next run to know should this one die ({error.strerror}): {self._path}"

    def close(self) -> None:
        """Let go of the file, and take it away where it says nothing."""
        try:
            if self._descriptor != _ABSENT:
                os.close(self._descriptor)
            if not self._suspects:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            self._note(error)
