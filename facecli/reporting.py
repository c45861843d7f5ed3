"""Progress reports: the protocol that callers pass in, and a silent implementation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from facecli.types import Skipped


class Reporter(Protocol):
    """Receives progress and messages; the command line's implementation writes to stderr."""

    watched: bool
    """Whether progress is shown, so that it is worth finding out the total."""

    def start(self, what: str, total: int | None) -> None:
        """Start counting `what`, such as "photos"; `total` is None if unknown."""

    def expect(self, total: int) -> None:
        """Set the total once it is known; may be called from any thread."""

    def advance(self, done: int, **counts: int) -> None:
        """Report `done` more items; `counts` are totals so far, such as faces=12, skipped=1."""

    def skip(self, skipped: Skipped) -> None:
        """Report a photo that cannot be read."""

    def warn(self, message: str) -> None:
        """Report something that the user should know, also without --verbose."""

    def detail(self, message: str) -> None:
        """Report a detail for --verbose."""

    def stop(self) -> None:
        """Stop counting."""


@contextmanager
def counting(report: Reporter, what: str, total: int | None) -> Iterator[None]:
    """Count `what` until the end, however it comes: a bar that stays would share its line with what is said next."""
    report.start(what, total)
    try:
        yield
    finally:
        report.stop()


class SilentReporter:
    """A Reporter that says nothing."""

    watched = False

    def start(self, what: str, total: int | None) -> None:
        pass

    def expect(self, total: int) -> None:
        pass

    def advance(self, done: int, **counts: int) -> None:
        pass

    def skip(self, skipped: Skipped) -> None:
        pass

    def warn(self, message: str) -> None:
        pass

    def detail(self, message: str) -> None:
        pass

    def stop(self) -> None:
        pass
