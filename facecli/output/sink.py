"""The protocol of what writers write to."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """A destination for bytes: a file, a buffer, or the command line's stdout."""

    def write(self, data: bytes, /) -> object:
        """Write all of `data`, or raise."""
