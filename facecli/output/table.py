"""Matches as an aligned table for a terminal."""

from __future__ import annotations

from facecli.output.paths import printable_path
from facecli.output.records import PathStyle, box_text, similarity_text
from facecli.output.sink import Sink
from facecli.output.terminal import Terminal, columns_of, link, pad, paint, shorten
from facecli.types import SearchResult, Sureness

COLOURS = {Sureness.SURE: "32", Sureness.LIKELY: "33", Sureness.UNSURE: "31"}
BOLD, DIM = "1", "2"
GAP = "  "
LEAST_PATH = 12
"""Minimum width of the path, even on a narrow terminal."""
PATH = 4
"""Index of the path's column."""
RIGHT = {0, 1, 3, 5}
"""Indices of the right-aligned columns: the numbers."""
HEADER = ("rank", "alike", "sure", "margin", "path", "face", "box")


class TableWriter:
    """Writes one table per query, below a line with the query."""

    def __init__(self, stream: Sink, style: PathStyle, terminal: Terminal) -> None:
        self._stream, self._style, self._terminal = stream, style, terminal
        self._blocks = 0

    def begin(self) -> None:
        """Do nothing: there is no header before the first table."""

    def write(self, result: SearchResult) -> None:
        """Write the table of one result."""
        if not result.matches:
            return
        lines = [""] if self._blocks else []
        lines.append(self._paint(f"{printable_path(result.query.query)}, face {result.query.number}", BOLD))
        lines += self._table(result)
        self._blocks += 1
        self._stream.write("".join(line + "\n" for line in lines).encode())

    def _table(self, result: SearchResult) -> list[str]:
        rows = [HEADER, *self._rows(result)]
        shown = [c for c in range(len(HEADER)) if any(row[c] for row in rows[1:])]
        widths = {c: max(columns_of(row[c]) for row in rows) for c in shown}
        spare = self._terminal.width - sum(w for c, w in widths.items() if c != PATH) - len(GAP) * (len(shown) - 1)
        widths[PATH] = max(LEAST_PATH, min(widths[PATH], spare))
        header = self._paint(self._line(rows[0], widths).rstrip(), DIM)
        return [header, *(self._decorated(row, widths, result, number) for number, row in enumerate(rows[1:]))]

    def _rows(self, result: SearchResult) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for number, match in enumerate(result.matches):
            judgement = result.judgements[number] if result.judgements else None
            margin = judgement.margin if judgement is not None else None
            rows.append(
                (
                    str(match.rank),
                    similarity_text(match.similarity),
                    str(judgement.sureness) if judgement is not None else "",
                    "" if margin is None else f"{margin:+.2f}",
                    printable_path(self._style.show(match.path)),
                    str(match.face_id),
                    box_text(match.box),
                )
            )
        return rows

    def _line(self, row: tuple[str, ...], widths: dict[int, int]) -> str:
        return GAP.join(self._cell(row, c, widths[c]) for c in sorted(widths))

    def _cell(self, row: tuple[str, ...], column: int, width: int) -> str:
        text = shorten(row[column], width) if column == PATH else row[column]
        return text.rjust(width) if column in RIGHT else pad(text, width)

    def _decorated(self, row: tuple[str, ...], widths: dict[int, int], result: SearchResult, number: int) -> str:
        """Format a row with colour and link; these are added after padding, since they take no columns."""
        cells = {c: self._cell(row, c, widths[c]) for c in sorted(widths)}
        if result.judgements:
            colour = COLOURS[result.judgements[number].sureness]
            cells |= {c: self._paint(cells[c], colour) for c in (1, 2) if c in cells}
        if self._terminal.links:
            bare = cells[PATH].rstrip()
            cells[PATH] = link(bare, result.matches[number].path) + cells[PATH][len(bare) :]
        return GAP.join(cells.values()).rstrip()

    def _paint(self, text: str, code: str) -> str:
        return paint(text, code) if self._terminal.colour else text

    def end(self) -> None:
        """Do nothing: there is no footer."""
