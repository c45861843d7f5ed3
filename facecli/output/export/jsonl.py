"""JSON Lines: one record a line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from facecli.exports import ExportTable
from facecli.output.export.texts import plain
from facecli.output.records import json_line
from facecli.output.sink import Sink


def write_jsonl(table: ExportTable, records: Iterable[Any], stream: Sink) -> int:
    """Write the records; returns how many."""
    count = 0
    for record in records:
        stream.write(json_line({field.name: plain(field, field.of(record)) for field in table.fields}))
        count += 1
    return count
