"""Items as aligned tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Generic

from facecli.output.layout import Listed, RowLayout
from facecli.output.paths import printable_path
from facecli.output.sink import Sink
from facecli.output.terminal import Terminal, columns_of, link, pad, paint, shorten

BOLD, DIM = "1", "2"
GAP = "  "
LEAST_PATH = 12
"""Minimum width of the path, even on a narrow terminal."""


class TableWriter(Generic[Listed]):
    """Writes a table for each title; the items without one continue a single table."""

    def __init__(self, stream: Sink, layout: RowLayout[Listed], terminal: Terminal) -> None:
        self._stream, self._layout, self._terminal = stream, layout, terminal
        self._tables = 0
        self._widths: dict[int, int] = {}
        """The widths of the shown columns in the table that is continued."""

    def begin(self) -> None:
        """Do nothing: there is no header before the first table."""

    def write(self, items: Iterable[Listed], title: str = "") -> None:
        """Write the table of some items below their title, or rows that continue the table without a title."""
        chosen = list(items)
        if not chosen:
            return
        lines = []
        if title:
            self._widths = {}
            lines = [""] if self._tables else []
            lines.append(self._paint(printable_path(title), BOLD))
        self._tables += 1
        self._stream.write("".join(line + "\n" for line in [*lines, *self._table(chosen)]).encode())

    def _table(self, items: Sequence[Listed]) -> list[str]:
        rows = [tuple(map(printable_path, self._layout.cells(item))) for item in items]
        header = tuple(column.name for column in self._layout.columns)
        begins = not self._widths
        self._widths = self._fit([header, *rows], self._widths)
        lines = [self._paint(self._join(self._cells(header)), DIM)] if begins else []
        return [*lines, *(self._decorated(item, row) for item, row in zip(items, rows, strict=True))]

    def _fit(self, rows: Sequence[tuple[str, ...]], before: dict[int, int]) -> dict[int, int]:
        """The widths of the columns that any row fills; the path gets what the terminal has left."""
        columns = self._layout.columns
        shown = before or [c for c in range(len(columns)) if any(row[c] for row in rows[1:])]
        widths = {c: max(before.get(c, 0), *(columns_of(row[c]) for row in rows)) for c in shown}
        for path in (c for c in widths if columns[c].path):
            spare = self._terminal.width - sum(w for c, w in widths.items() if c != path) - len(GAP) * (len(widths) - 1)
            widths[path] = max(LEAST_PATH, min(widths[path], spare))
        return widths

    def _cells(self, row: tuple[str, ...]) -> dict[int, str]:
        return {c: self._cell(row[c], c) for c in self._widths}

    def _cell(self, text: str, column: int) -> str:
        width, kind = self._widths[column], self._layout.columns[column]
        text = shorten(text, width) if kind.path else text
        return text.rjust(width) if kind.right else pad(text, width)

    def _decorated(self, item: Listed, row: tuple[str, ...]) -> str:
        """Format a row with colour and link; these are added after padding, since they take no columns."""
        cells, colour = self._cells(row), self._layout.colour(item)
        for column, text in cells.items():
            kind = self._layout.columns[column]
            if kind.coloured and colour:
                cells[column] = self._paint(text, colour)
            elif kind.path and self._terminal.links:
                bare = text.rstrip()
                cells[column] = link(bare, self._layout.path(item)) + text[len(bare) :]
        return self._join(cells)

    def _join(self, cells: dict[int, str]) -> str:
        return GAP.join(cells.values()).rstrip()

    def _paint(self, text: str, code: str) -> str:
        return paint(text, code) if self._terminal.colour else text

    def end(self) -> None:
        """Do nothing: there is no footer."""
