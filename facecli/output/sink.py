"""Where the writers of this room put their bytes."""

from __future__ import annotations

from typing import Protocol


class Sink(Protocol):
    """Takes bytes, whole; a file, a buffer, or stdout behind what the command line makes of it."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`, or raise."""
