"""Items as tab-separated rows without a header; empty cells at the end of a row are left out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic

from facecli.output.layout import Listed, RowLayout
from facecli.output.paths import tsv_path
from facecli.output.sink import Sink


class TsvWriter(Generic[Listed]):
    """Writes one row per item."""

    def __init__(self, stream: Sink, layout: RowLayout[Listed]) -> None:
        self._stream, self._layout = stream, layout
        self._columns = [number for number, column in enumerate(layout.columns) if not column.table_only]

    def begin(self) -> None:
        """Do nothing: there is no header."""

    def write(self, items: Iterable[Listed], title: str = "") -> None:
        """Write the rows of some items."""
        for item in items:
            cells = self._layout.cells(item)
            row = b"\t".join(tsv_path(cells[number]) for number in self._columns)
            self._stream.write(row.rstrip(b"\t") + b"\n")

    def end(self) -> None:
        """Do nothing: there is no footer."""
