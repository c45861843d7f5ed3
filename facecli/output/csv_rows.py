"""Matches as CSV with a header: the fields of the JSON record, boxes as x1,y1,x2,y2, paths as their very bytes."""

from __future__ import annotations

import csv
import io
import os
from typing import BinaryIO

from facecli.output.records import FIELDS, PathStyle, match_record, pairs_of
from facecli.types import Match, QueryFace, SearchResult


class CsvWriter:
    """Writes a header, then one row a match."""

    def __init__(self, stream: BinaryIO, style: PathStyle) -> None:
        self._stream, self._style = stream, style
        self._line = io.StringIO(newline="")
        self._rows = csv.writer(self._line, lineterminator="\n")

    def begin(self) -> None:
        """The header."""
        self._write(FIELDS)

    def write(self, result: SearchResult) -> None:
        """The rows of one block."""
        for query, match in pairs_of(result):
            self._write(self._fields(query, match))

    def _fields(self, query: QueryFace, match: Match) -> list[object]:
        record = match_record(query, match, self._style) | {"query": query.query, "path": self._style.show(match.path)}
        return [",".join(map(str, value)) if isinstance(value, list) else value for value in map(record.__getitem__, FIELDS)]

    def _write(self, fields: object) -> None:
        self._rows.writerow(fields)  # type: ignore[arg-type]
        self._stream.write(os.fsencode(self._line.getvalue()))
        self._line.seek(0)
        self._line.truncate()

    def end(self) -> None:
        """There is no footer."""
