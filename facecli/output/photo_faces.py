"""How the faces of photos are shown."""

from __future__ import annotations

from typing import TypeAlias

from facecli.output.layout import Column
from facecli.output.paths import path_record
from facecli.output.records import PathStyle, box_record, box_text, size_record, size_text
from facecli.types import JsonValue, QueryFace

FaceOfPhoto: TypeAlias = tuple[str, QueryFace]
"""A face with the absolute path of its photo."""


class FaceLayout:
    """The layout of the faces found in photos."""

    fields = ("path", "face", "face_number", "box", "score", "size")
    columns = (
        Column("face", right=True),
        Column("box"),
        Column("score", right=True),
        Column("size"),
        Column("path", path=True),
    )

    def __init__(self, style: PathStyle, *, embeddings: bool = False) -> None:
        self._style, self._embeddings = style, embeddings

    def record(self, item: FaceOfPhoto) -> dict[str, JsonValue]:
        """Convert a face to plain values: path, number, box, score, width and height in pixels, optional embedding."""
        path, face = item
        record: dict[str, JsonValue] = {
            **path_record(self._style.show(path)),
            "face": face.number,
            "face_number": face.number,
            "box": box_record(face.box),
            "score": round(face.score, 4),
            "size": size_record(face.box),
        }
        if self._embeddings:
            record["embedding"] = [round(float(value), 7) for value in face.embedding]
        return record

    def cells(self, item: FaceOfPhoto) -> tuple[str, ...]:
        """The cells of a face."""
        path, face = item
        score = f"{face.score:.4f}"
        return str(face.number), box_text(face.box), score, size_text(face.box), self._style.show(path)

    def path(self, item: FaceOfPhoto) -> str:
        """The photo of a face."""
        return item[0]

    def colour(self, item: FaceOfPhoto) -> str:
        """None."""
        return ""
