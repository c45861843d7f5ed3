"""The formats of an export, each with its own writer."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import IO, Any, assert_never, cast

from facecli.errors import FacecliError
from facecli.exports import ExportTable
from facecli.output.sink import Sink


class ExportFormat(StrEnum):
    """The format of an export."""

    JSONL = "jsonl"
    CSV = "csv"
    NPZ = "npz"
    PARQUET = "parquet"

    @property
    def is_stream(self) -> bool:
        """Whether it can be written to a pipe."""
        return self in (ExportFormat.JSONL, ExportFormat.CSV)


def write_export(form: ExportFormat, table: ExportTable, records: Iterable[Any], stream: Sink) -> int:
    """Write all records; returns how many. Memory does not grow with their number.

    `stream` is a binary file unless the format can be written to a pipe.
    """
    match form:
        case ExportFormat.JSONL:
            from facecli.output.export.jsonl import write_jsonl  # noqa: PLC0415 (only the chosen format is imported)

            return write_jsonl(table, records, stream)
        case ExportFormat.CSV:
            from facecli.output.export.csv_table import write_csv  # noqa: PLC0415

            return write_csv(table, records, stream)
        case ExportFormat.NPZ:
            from facecli.output.export.npz import write_npz  # noqa: PLC0415

            return write_npz(table, records, cast("IO[bytes]", stream))
        case ExportFormat.PARQUET:
            _ask_pyarrow()
            from facecli.output.export.parquet import write_parquet  # noqa: PLC0415

            return write_parquet(table, records, cast("IO[bytes]", stream))
        case _:
            assert_never(form)


def _ask_pyarrow() -> None:
    """Raise FacecliError if pyarrow is not installed."""
    try:
        import pyarrow as pa  # noqa: F401, PLC0415 (an extra)
    except ImportError as error:
        raise FacecliError(
            "Parquet needs the package pyarrow", "--format parquet", hint="pip install 'facecli[parquet]'"
        ) from error
