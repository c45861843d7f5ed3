"""CSV with a header: a box is four columns, other numbers in a row are one column, separated by spaces."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from facecli.exports import ExportTable, Field, FieldKind
from facecli.output.csv_rows import LISTS, csv_columns
from facecli.output.export.texts import plain
from facecli.output.sink import Sink


def write_csv(table: ExportTable, records: Iterable[Any], stream: Sink) -> int:
    """Write a header and the records; returns how many."""
    line, count = io.StringIO(newline=""), 0
    rows = csv.writer(line, lineterminator="\r\n")

    def write(values: Iterable[object]) -> None:
        rows.writerow(values)
        stream.write(line.getvalue().encode("utf-8", "surrogateescape"))
        line.seek(0)
        line.truncate()

    write(csv_columns(field.name for field in table.fields))
    for record in records:
        write(cell for field in table.fields for cell in _cells(field, record))
        count += 1
    return count


def _cells(field: Field, record: Any) -> Iterator[object]:
    value = plain(field, field.of(record))
    if field.name in LISTS and isinstance(value, list):
        yield from value
    elif field.kind in (FieldKind.NUMBERS, FieldKind.EMBEDDING) and isinstance(value, list):
        yield " ".join(map(str, value))
    else:
        yield value
