"""What ties a worker to the driver in the same process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from msgspec import Struct, field

from facecli.reporting import Reporter, SilentReporter

DEATHS = 2
"""The number of crashed runs after which a content is decoded in a separate process."""


class DecodeJournal(Protocol):
    """Records the contents being decoded; yields the number of runs that crashed while decoding one."""

    def in_flight(self, digest: bytes) -> AbstractContextManager[int]: ...


class NoJournal:
    """The journal of a worker whose death its driver notices."""

    def in_flight(self, digest: bytes) -> AbstractContextManager[int]:
        return nullcontext(0)


class Ties(Struct, frozen=True):
    """Whom a worker asks and tells; all of it is thread-safe."""

    knows: Callable[[bytes, bool], bool] = lambda _digest, _force: False
    """Whether the index has a content, or keeps it out; with force only the latter. A wrong answer costs time only."""
    journal: DecodeJournal = field(default_factory=NoJournal)
    report: Reporter = field(default_factory=SilentReporter)
    """Receives what is told while models are opened and photos decoded."""
