"""Items as CSV with a header: the fields of the JSON record, lists as columns of their own, paths as bytes."""

from __future__ import annotations

import base64
import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic

from facecli.output.layout import Listed, RowLayout
from facecli.output.paths import encoded
from facecli.output.sink import Sink
from facecli.types import JsonValue

ROW_END = "\r\n"
LISTS = {
    "box": ("x1", "y1", "x2", "y2"),
    "query_box": ("query_x1", "query_y1", "query_x2", "query_y2"),
    "size": ("width", "height"),
}
"""The columns of the fields that are lists."""


class CsvWriter(Generic[Listed]):
    """Writes a header, then one row per item."""

    def __init__(self, stream: Sink, layout: RowLayout[Listed]) -> None:
        self._stream, self._layout = stream, layout
        self._line = io.StringIO(newline="")
        # csv quotes fields that contain the line terminator. With "\n" it would not quote a carriage return, which
        # readers take for the end of the row.
        self._rows = csv.writer(self._line, lineterminator=ROW_END)

    def begin(self) -> None:
        """Write the header."""
        self._write(csv_columns(self._layout.fields))

    def write(self, items: Iterable[Listed], title: str = "") -> None:
        """Write the rows of some items."""
        for item in items:
            record = self._layout.record(item)
            self._write(value for field in self._layout.fields for value in _values(record, field))

    def _write(self, fields: Iterable[JsonValue]) -> None:
        self._rows.writerow(fields)
        self._stream.write(encoded(self._line.getvalue().removesuffix(ROW_END)) + b"\n")
        self._line.seek(0)
        self._line.truncate()

    def end(self) -> None:
        """Do nothing: there is no footer."""


def csv_columns(fields: Iterable[str]) -> list[str]:
    """The names of the columns of fields."""
    return [name for field in fields for name in LISTS.get(field, (field,))]


def _values(record: Mapping[str, JsonValue], field: str) -> Iterator[JsonValue]:
    """The values of a field's columns; a path whose record has its bytes in base64 is that path."""
    value, raw = record[field], record.get(f"{field}_base64")
    if field in LISTS:
        yield from value if isinstance(value, list) else [None] * len(LISTS[field])
    elif isinstance(value, bool):
        yield str(value).lower()
    else:
        yield os.fsdecode(base64.b64decode(raw)) if isinstance(raw, str) else value
