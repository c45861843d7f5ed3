"""How a use case tells how it is going: a protocol that is passed in, and one that says nothing."""

from __future__ import annotations

from typing import Protocol

from facecli.types import Skipped


class Reporter(Protocol):
    """Where a use case tells how it is going; the command line gives one that writes to stderr."""

    watched: bool
    """Whether anybody sees the counting, so that it is worth while to find out how much there is to do."""

    def start(self, what: str, total: int | None) -> None:
        """Begin counting `what` ("photos"), of which there are `total` if that is known."""

    def expect(self, total: int) -> None:
        """Say how many there are, when that gets known later; from any thread."""

    def advance(self, done: int, **counts: int) -> None:
        """`done` more are done; `counts` are totals so far, such as faces=12, skipped=1."""

    def skip(self, skipped: Skipped) -> None:
        """A photo could not be read."""

    def warn(self, message: str) -> None:
        """Something that the user should know, without --verbose."""

    def detail(self, message: str) -> None:
        """Something for --verbose."""

    def stop(self) -> None:
        """The counting is over."""


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
