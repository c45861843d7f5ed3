"""NumPy's archive: one array a field, all of one length. Nothing in it is a pickle."""

from __future__ import annotations

import json
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from typing import IO, Any

import numpy as np

from facecli.exports import ExportTable, Field, FieldKind

_TYPES = {FieldKind.INTEGER: "<i8", FieldKind.NUMBER: "<f8", FieldKind.TIME: "<M8[ms]", FieldKind.NUMBERS: "<f4"}
_LENGTH = struct.Struct("<I")
_UNKNOWN = {FieldKind.INTEGER: -1, FieldKind.NUMBER: np.nan, FieldKind.TIME: np.datetime64("NaT", "ms")}
"""What stands for None; for texts and bytes it is an empty one."""
_PORTION = 1024


def write_npz(table: ExportTable, records: Iterable[Any], stream: IO[bytes]) -> int:
    """Write the records; returns how many. The columns grow in files without a name, on the same disk."""
    with ExitStack() as stack:
        columns = [_column(field, stack, stream.name) for field in table.fields]
        count = 0
        some: list[Any] = []
        for record in records:
            some.append(record)
            count += 1
            if len(some) == _PORTION:
                _add(columns, some)
                some = []
        _add(columns, some)
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
            for column in columns:
                with archive.open(f"{column.field.name}.npy", "w", force_zip64=True) as member:
                    column.save(member, count)
            with archive.open("about.npy", "w") as member:
                np.lib.format.write_array(member, np.array(json.dumps(dict(table.about))), allow_pickle=False)
    return count


def _add(columns: Iterable[_Column], records: list[Any]) -> None:
    for column in columns:
        column.add([column.field.of(record) for record in records])


def _column(field: Field, stack: ExitStack, beside: str) -> _Column:
    folder = os.path.dirname(os.path.abspath(beside))
    kind = _Texts if field.kind in (FieldKind.TEXT, FieldKind.BYTES) else _Numbers
    return kind(field, stack.enter_context(tempfile.TemporaryFile(dir=folder)))


class _Column:
    """The values of one field, in a file."""

    def __init__(self, field: Field, file: IO[bytes]) -> None:
        self.field, self._file = field, file

    def add(self, values: list[Any]) -> None:
        raise NotImplementedError

    def save(self, member: IO[bytes], count: int) -> None:
        raise NotImplementedError

    def _write_header(self, member: IO[bytes], dtype: np.dtype[Any], *shape: int) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)


class _Numbers(_Column):
    """Values of a fixed size."""

    def add(self, values: list[Any]) -> None:
        unknown = _UNKNOWN.get(self.field.kind)
        array = np.array([unknown if value is None else value for value in values], self._type)
        self._file.write(array.tobytes())

    @property
    def _type(self) -> np.dtype[Any]:
        return np.dtype(_TYPES.get(self.field.kind, "<f2"))

    def save(self, member: IO[bytes], count: int) -> None:
        self._write_header(member, self._type, count, *([self.field.length] if self.field.length else []))
        self._file.seek(0)
        shutil.copyfileobj(self._file, member, 1 << 20)


class _Texts(_Column):
    """Texts and bytes, which the archive pads to the longest."""

    _longest = 1

    def add(self, values: list[Any]) -> None:
        for value in values:
            raw = value.encode("utf-32-le", "replace") if isinstance(value, str) else value or b""
            self._longest = max(self._longest, len(raw))
            self._file.write(_LENGTH.pack(len(raw)) + raw)

    def save(self, member: IO[bytes], count: int) -> None:
        is_text = self.field.kind is FieldKind.TEXT
        dtype = np.dtype(f"<U{self._longest // 4 or 1}" if is_text else f"S{self._longest}")
        self._write_header(member, dtype, count)
        self._file.seek(0)
        for _ in range(count):
            (length,) = _LENGTH.unpack(self._file.read(_LENGTH.size))
            member.write(self._file.read(length).ljust(dtype.itemsize, b"\0"))
