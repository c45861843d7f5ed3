"""Matches as paths only, each photo once."""

from __future__ import annotations

import os

from facecli.output.records import PathStyle
from facecli.output.sink import Sink
from facecli.types import SearchResult


class PathListWriter:
    """Writes the bytes of each path once over all results, followed by `ending`."""

    def __init__(self, stream: Sink, style: PathStyle, ending: bytes) -> None:
        self._stream, self._style, self._ending = stream, style, ending
        self._written: set[str] = set()

    def begin(self) -> None:
        """Do nothing: there is no header."""

    def write(self, result: SearchResult) -> None:
        """Write the paths of one result that have not been written yet."""
        for match in result.matches:
            if match.path not in self._written:
                self._written.add(match.path)
                self._stream.write(os.fsencode(self._style.show(match.path)) + self._ending)

    def end(self) -> None:
        """Do nothing: there is no footer."""
