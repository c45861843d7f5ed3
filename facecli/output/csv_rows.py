"""Matches as CSV with a header: the fields of the JSON record, boxes as x1,y1,x2,y2, paths as bytes."""

from __future__ import annotations

import csv
import io

from facecli.output.paths import encoded
from facecli.output.records import FIELDS, PathStyle, match_record, pairs_of
from facecli.output.sink import Sink
from facecli.types import Match, QueryFace, SearchResult

ROW_END = "\r\n"


class CsvWriter:
    """Writes a header, then one row per match."""

    def __init__(self, stream: Sink, style: PathStyle) -> None:
        self._stream, self._style = stream, style
        self._line = io.StringIO(newline="")
        # csv quotes fields that contain the line terminator. With "\n" it would not quote a carriage return, which
        # readers take for the end of the row.
        self._rows = csv.writer(self._line, lineterminator=ROW_END)

    def begin(self) -> None:
        """Write the header."""
        self._write(FIELDS)

    def write(self, result: SearchResult) -> None:
        """Write the rows of one result."""
        for query, match in pairs_of(result):
            self._write(self._fields(query, match))

    def _fields(self, query: QueryFace, match: Match) -> list[object]:
        record = match_record(query, match, self._style) | {"query": query.query, "path": self._style.show(match.path)}
        return [
            ",".join(map(str, value)) if isinstance(value, list) else value for value in map(record.__getitem__, FIELDS)
        ]

    def _write(self, fields: object) -> None:
        self._rows.writerow(fields)  # type: ignore[arg-type]
        self._stream.write(encoded(self._line.getvalue().removesuffix(ROW_END)) + b"\n")
        self._line.seek(0)
        self._line.truncate()

    def end(self) -> None:
        """Do nothing: there is no footer."""
