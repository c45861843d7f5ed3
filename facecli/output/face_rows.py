"""The faces of photos: JSON Lines, tab-separated rows, or an aligned table."""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

from facecli.output.paths import path_record, printable_path, tsv_path
from facecli.output.records import PathStyle, box_record, box_text, json_line
from facecli.output.sink import Sink
from facecli.output.terminal import Terminal, columns_of, pad, shorten
from facecli.types import JsonValue, QueryFace

HEADER = ("face", "box", "score", "size", "path")
GAP = "  "


class FaceFormat(StrEnum):
    """The format of stdout."""

    TABLE = "table"
    TSV = "tsv"
    JSON = "json"


def face_record(path: str, face: QueryFace, style: PathStyle, *, embedding: bool) -> dict[str, JsonValue]:
    """Convert a face to plain values: path, number, box, score, width and height in pixels, optional embedding."""
    x1, y1, x2, y2 = face.box
    record: dict[str, JsonValue] = {
        **path_record(style.show(path)),
        "face": face.number,
        "box": box_record(face.box),
        "score": round(face.score, 4),
        "size": [round(x2 - x1, 2), round(y2 - y1, 2)],
    }
    if embedding:
        record["embedding"] = [round(float(value), 7) for value in face.embedding]
    return record


class FaceWriter:
    """Writes faces one by one; a table is written at the end."""

    def __init__(self, form: FaceFormat, stream: Sink, style: PathStyle, terminal: Terminal) -> None:
        self._form, self._stream, self._style, self._terminal = form, stream, style, terminal
        self._rows: list[tuple[str, ...]] = []

    def write(self, path: str, face: QueryFace, *, embedding: bool = False) -> None:
        """Write one face."""
        match self._form:
            case FaceFormat.JSON:
                self._stream.write(json_line(face_record(path, face, self._style, embedding=embedding)))
            case FaceFormat.TSV:
                self._stream.write("\t".join(_cells(face)).encode() + b"\t" + tsv_path(self._style.show(path)) + b"\n")
            case FaceFormat.TABLE:
                self._rows.append((*_cells(face), printable_path(self._style.show(path))))
            case _:
                assert_never(self._form)

    def end(self) -> None:
        """Write the table, if that is the format."""
        if not self._rows:
            return
        rows = [HEADER, *self._rows]
        widths = [max(columns_of(row[c]) for row in rows) for c in range(len(HEADER) - 1)]
        spare = max(12, self._terminal.width - sum(widths) - len(GAP) * len(widths))
        for row in rows:
            cells = [pad(cell, width) for cell, width in zip(row, widths, strict=False)]
            self._stream.write((GAP.join([*cells, shorten(row[-1], spare)]) + "\n").encode())


def _cells(face: QueryFace) -> tuple[str, str, str, str]:
    x1, y1, x2, y2 = face.box
    return str(face.number), box_text(face.box), f"{face.score:.4f}", f"{x2 - x1:.0f}x{y2 - y1:.0f}"
