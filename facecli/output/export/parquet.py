"""Apache Parquet, by pyarrow; what the export says of itself is in the metadata of its schema."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from facecli.exports import ExportTable, Field, FieldKind

_GROUP = 16_384
"""The number of records in a row group, all of which are in memory: some 40 MB."""


def write_parquet(table: ExportTable, records: Iterable[Any], stream: IO[bytes]) -> int:
    """Write the records; returns how many."""
    types = [(field.name, _type(field)) for field in table.fields]
    schema = pa.schema(types, metadata={name: str(value) for name, value in table.about.items()})
    count, rest = 0, iter(records)
    with pyarrow.parquet.ParquetWriter(stream, schema, compression="zstd") as writer:
        while some := list(itertools.islice(rest, _GROUP)):
            arrays = [_array(field, [field.of(record) for record in some], schema) for field in table.fields]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(some)
    return count


def _type(field: Field) -> Any:
    one = _TYPES[field.kind]()
    return pa.list_(one, field.length) if field.length else one


_TYPES = {
    FieldKind.INTEGER: pa.int64,
    FieldKind.NUMBER: pa.float64,
    FieldKind.TEXT: pa.string,
    FieldKind.BYTES: pa.binary,
    FieldKind.TIME: lambda: pa.timestamp("ms"),
    FieldKind.NUMBERS: pa.float32,
    FieldKind.EMBEDDING: pa.float16,
}


def _array(field: Field, values: list[Any], schema: Any) -> Any:
    if field.kind is FieldKind.EMBEDDING:
        flat = pa.array(np.concatenate(values) if values else np.zeros(0, np.float16), pa.float16())
        return pa.FixedSizeListArray.from_arrays(flat, field.length)
    return pa.array(values, schema.field(field.name).type)
