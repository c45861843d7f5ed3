"""Items as JSON Lines."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

from facecli.output.layout import Listed, RowLayout
from facecli.output.records import json_line
from facecli.output.sink import Sink


class JsonLinesWriter(Generic[Listed]):
    """Writes one JSON object per item, one per line."""

    def __init__(self, stream: Sink, layout: RowLayout[Listed]) -> None:
        self._stream, self._layout = stream, layout

    def begin(self) -> None:
        """Do nothing: there is no header."""

    def write(self, items: Iterable[Listed], title: str = "") -> None:
        """Write the lines of some items."""
        for item in items:
            self._stream.write(json_line(self._layout.record(item)))

    def end(self) -> None:
        """Do nothing: there is no footer."""
