"""Copies of one photo within a run share one inference."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TypeAlias

from msgspec.structs import replace

from facecli.types import IndexedPhoto, PhotoFile, Skipped

Outcome: TypeAlias = IndexedPhoto | Skipped


class Claims:
    """Who works on which content; shared by the workers of a run.

    The first worker that meets a content claims it, later ones wait for its outcome. A claimant waits for nobody, so that no
    two can wait for each other.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claimed: dict[bytes, Future[Outcome]] = {}

    def claim(self, digest: bytes) -> Future[Outcome] | None:
        """None if the caller is the first and must `settle` the content; else what the first will have made of it."""
        with self._lock:
            earlier = self._claimed.get(digest)
            if earlier is None:
                self._claimed[digest] = Future()
            return earlier

    def settle(self, digest: bytes, outcome: Outcome | BaseException) -> None:
        """Tell those who wait what became of a claimed content; only found faces are kept for those who come later."""
        with self._lock:
            future = self._claimed[digest]
            if not isinstance(outcome, IndexedPhoto):
                del self._claimed[digest]
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def forget(self, digest: bytes) -> None:
        """The store knows the content now; it need not be kept here."""
        with self._lock:
            self._claimed.pop(digest, None)


def under_name(outcome: Outcome, file: PhotoFile) -> Outcome:
    """The outcome of a copy: the same faces or the same fault, under another name."""
    return replace(outcome, file=file)
