"""Copies of one photo in a run share one inference."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from msgspec.structs import replace

from facecli.types import IndexedPhoto, PhotoFile, Skipped

Outcome: TypeAlias = IndexedPhoto | Skipped


class Claim:
    """A content that one worker processes, and its outcome."""

    def __init__(self, digest: bytes, drop: Callable[[Claim], None]) -> None:
        self.digest, self._drop = digest, drop
        self._settled: Future[Outcome] = Future()

    def settle(self, outcome: Outcome | BaseException) -> None:
        """Pass the outcome to the waiting workers; only found faces are kept for later copies."""
        if not isinstance(outcome, IndexedPhoto):
            self._drop(self)
        if isinstance(outcome, BaseException):
            self._settled.set_exception(outcome)
        else:
            self._settled.set_result(outcome)

    def outcome(self) -> Outcome:
        """Wait for the outcome; raises the exception of the worker, if any."""
        return self._settled.result()

    def forget(self) -> None:
        """Drop the claim on a stored content, since the store recognises further copies; one in progress stays."""
        if self._settled.done():
            self._drop(self)


class Claims:
    """The contents in progress; shared by the workers of a run.

    The first worker that reads a content claims it, and later ones wait for its outcome. The first worker never waits
    for one that waits for a claim, so there is no deadlock. A waiting worker holds the claim itself, so it gets the
    outcome even if the claim is dropped here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[bytes, Claim] = {}

    def claim(self, digest: bytes) -> tuple[Claim, bool]:
        """The claim on a content, and whether the caller is the first, who must settle it."""
        with self._lock:
            earlier = self._claims.get(digest)
            if earlier is not None:
                return earlier, False
            claim = self._claims[digest] = Claim(digest, self._drop)
            return claim, True

    def _drop(self, claim: Claim) -> None:
        """Drop a claim, unless the content has been claimed again."""
        with self._lock:
            if self._claims.get(claim.digest) is claim:
                del self._claims[claim.digest]


def under_name(outcome: Outcome, file: PhotoFile) -> Outcome:
    """The outcome for a copy: the same faces or the same reason to skip, for another file."""
    return replace(outcome, file=file)
