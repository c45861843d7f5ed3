"""Copies of one photo in a run share one inference."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeAlias

from facecli.types import IndexedPhoto, Skipped

Outcome: TypeAlias = IndexedPhoto | Skipped
RECENT = 512
"""The contents whose faces are kept for later copies, until the index has them."""


class Claim:
    """A content that one worker processes, and its outcome."""

    def __init__(self, digest: bytes, drop: Callable[[Claim], None], retire: Callable[[Claim], None]) -> None:
        self.digest, self._drop, self._retire = digest, drop, retire
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
        """Keep the claim no longer than those of some hundred later contents; one in progress stays."""
        if self._settled.done():
            self._retire(self)


class Claims:
    """The contents in progress; shared by the workers of a run.

    The first worker that reads a content claims it, and later ones wait for its outcome. The first worker never waits
    for one that waits for a claim, so there is no deadlock. A waiting worker holds the claim itself, so it gets the
    outcome even if the claim is dropped here.
    """

    def __init__(self, recent: int = RECENT) -> None:
        self._lock = threading.Lock()
        self._recent, self._retired = recent, deque[Claim]()
        self._claims: dict[bytes, Claim] = {}

    def claim(self, digest: bytes) -> tuple[Claim, bool]:
        """The claim on a content, and whether the caller is the first, who must settle it."""
        with self._lock:
            earlier = self._claims.get(digest)
            if earlier is not None:
                return earlier, False
            claim = self._claims[digest] = Claim(digest, self._drop, self._retire)
            return claim, True

    def _retire(self, claim: Claim) -> None:
        with self._lock:
            self._retired.append(claim)
            oldest = self._retired.popleft() if len(self._retired) > self._recent else None
        if oldest is not None:
            self._drop(oldest)

    def _drop(self, claim: Claim) -> None:
        """Drop a claim, unless the content has been claimed again."""
        with self._lock:
            if self._claims.get(claim.digest) is claim:
                del self._claims[claim.digest]
