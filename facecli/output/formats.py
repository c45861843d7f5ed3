"""The output formats of every command that lists something, each with its own writer."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, assert_never

from facecli.output.layout import Listed, Listed_contra, RowLayout
from facecli.output.sink import Sink

if TYPE_CHECKING:
    from facecli.output.records import PathStyle
    from facecli.output.terminal import Terminal


class OutputFormat(StrEnum):
    """The format of stdout."""

    TABLE = "table"
    """Aligned columns, for a terminal."""
    TSV = "tsv"
    """The same rows tab-separated, for a pipe."""
    PATHS = "paths"
    PRINT0 = "print0"
    JSON = "json"
    CSV = "csv"


class ListWriter(Protocol[Listed_contra]):
    """Writes a list of items to a sink, in parts."""

    def begin(self) -> None:
        """Write the header."""

    def write(self, items: Iterable[Listed_contra], title: str = "") -> None:
        """Write some items; in a table, those with a title are a table of their own."""

    def end(self) -> None:
        """Write the footer."""


def open_list_writer(
    form: OutputFormat, stream: Sink, layout: RowLayout[Listed], style: PathStyle, terminal: Terminal | None = None
) -> ListWriter[Listed]:
    """Open the writer of a format for items of one layout; a table needs `terminal`."""
    match form:
        case OutputFormat.TABLE:
            from facecli.output.table import TableWriter  # noqa: PLC0415 (only the chosen format is imported)

            assert terminal is not None
            return TableWriter(stream, layout, terminal)
        case OutputFormat.TSV:
            from facecli.output.tsv import TsvWriter  # noqa: PLC0415

            return TsvWriter(stream, layout)
        case OutputFormat.PATHS | OutputFormat.PRINT0:
            from facecli.output.path_list import PathListWriter  # noqa: PLC0415

            return PathListWriter(stream, layout, style, b"\0" if form is OutputFormat.PRINT0 else b"\n")
        case OutputFormat.JSON:
            from facecli.output.json_lines import JsonLinesWriter  # noqa: PLC0415

            return JsonLinesWriter(stream, layout)
        case OutputFormat.CSV:
            from facecli.output.csv_rows import CsvWriter  # noqa: PLC0415

            return CsvWriter(stream, layout)
        case _:
            assert_never(form)
