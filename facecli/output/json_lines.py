"""Matches as JSON Lines."""

from __future__ import annotations

from facecli.output.records import PathStyle, json_line, match_record, pairs_of
from facecli.output.sink import Sink
from facecli.types import SearchResult


class JsonLinesWriter:
    """Writes one JSON object per match, one per line."""

    def __init__(self, stream: Sink, style: PathStyle) -> None:
        self._stream, self._style = stream, style

    def begin(self) -> None:
        """Do nothing: there is no header."""

    def write(self, result: SearchResult) -> None:
        """Write the lines of one result."""
        for query, match in pairs_of(result):
            self._stream.write(json_line(match_record(query, match, self._style)))

    def end(self) -> None:
        """Do nothing: there is no footer."""
