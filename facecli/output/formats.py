"""The output formats of a search, each with its own writer."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Protocol, assert_never

from facecli.output.records import PathStyle
from facecli.output.sink import Sink
from facecli.types import SearchResult

if TYPE_CHECKING:
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


class ResultWriter(Protocol):
    """Writes the results of a search to a sink."""

    def begin(self) -> None:
        """Write the header."""

    def write(self, result: SearchResult) -> None:
        """Write one result: a query and its matches."""

    def end(self) -> None:
        """Write the footer."""


def open_result_writer(
    form: OutputFormat, stream: Sink, style: PathStyle, terminal: Terminal | None = None
) -> ResultWriter:
    """Open the writer of a format; a table needs `terminal`."""
    match form:
        case OutputFormat.TABLE:
            from facecli.output.table import TableWriter  # noqa: PLC0415 (only the chosen format is imported)

            assert terminal is not None
            return TableWriter(stream, style, terminal)
        case OutputFormat.TSV:
            from facecli.output.tsv import TsvWriter  # noqa: PLC0415

            return TsvWriter(stream, style)
        case OutputFormat.PATHS | OutputFormat.PRINT0:
            from facecli.output.path_list import PathListWriter  # noqa: PLC0415

            return PathListWriter(stream, style, b"\0" if form is OutputFormat.PRINT0 else b"\n")
        case OutputFormat.JSON:
            from facecli.output.json_lines import JsonLinesWriter  # noqa: PLC0415

            return JsonLinesWriter(stream, style)
        case OutputFormat.CSV:
            from facecli.output.csv_rows import CsvWriter  # noqa: PLC0415

            return CsvWriter(stream, style)
        case _:
            assert_never(form)
