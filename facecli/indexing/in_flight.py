"""Copies of one photo within a run share one inference."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from msgspec.structs import replace

from facecli.types import IndexedPhoto, PhotoFile, Skipped

Outcome: TypeAlias = IndexedPhoto | Skipped


class Claim:
    """A content that one worker has taken on, and what became of it."""

    def __init__(self, digest: bytes, drop: Callable[[Claim], None]) -> None:
        self.digest, self._drop = digest, drop
        self._settled: Future[Outcome] = Future()

    def settle(self, outcome: Outcome | BaseException) -> None:
        """Tell those who wait what became of the content; only found faces are kept for those who come later."""
        if not isinstance(outcome, IndexedPhoto):
            self._drop(self)
        if isinstance(outcome, BaseException):
            self._settled.set_exception(outcome)
        else:
            self._settled.set_result(outcome)

    def outcome(self) -> Outcome:
        """Wait for what becomes of the content; raises what the worker met with."""
        return self._settled.result()

    def forget(self) -> None:
        """The store knows the content now, and tells its copies from here on; one that is still in flight stays."""
        if self._settled.done():
            self._drop(self)


class Claims:
    """Who works on which content; shared by the workers of a run.

    The first worker that meets a content claims it, later ones wait for its outcome. A claimant waits for nobody who
    waits for a claim, so that no two can wait for each other, and whoever waits holds the claim itself: nothing that
    happens here can keep the outcome from him.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._claims: dict[bytes, Claim] = {}

    def claim(self, digest: bytes) -> tuple[Claim, bool]:
        """The claim on a content, and whether the caller is the first and must settle it."""
        with self._lock:
            earlier = self._claims.get(digest)
            if earlier is not None:
                return earlier, False
            claim = self._claims[digest] = Claim(digest, self._drop)
            return claim, True

    def _drop(self, claim: Claim) -> None:
        """Keep a claim no longer, unless the content is claimed anew."""
        with self._lock:
            if self._claims.get(claim.digest) is claim:
                del self._claims[claim.digest]


def under_name(outcome: Outcome, file: PhotoFile) -> Outcome:
    """The outcome of a copy: the same faces or the same fault, under another name."""
    return replace(outcome, file=file)
