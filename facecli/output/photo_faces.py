"""How the faces of photos are shown."""

from __future__ import annotations

from typing import TypeAlias

from facecli.output.layout import Column, PlainLayout
from facecli.output.paths import path_record
from facecli.output.records import PathStyle, box_record, size_record, size_text
from facecli.types import FloatArray, IndexedFace, JsonValue, QueryFace, shown_box

FaceOfPhoto: TypeAlias = tuple[str, QueryFace]
"""A face with the absolute path of its photo."""


class FaceLayout(PlainLayout[FaceOfPhoto]):
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
        return record | embedding_record(face.embedding) if self._embeddings else record

    def cells(self, item: FaceOfPhoto) -> tuple[str, ...]:
        """The cells of a face."""
        path, face = item
        score = f"{face.score:.4f}"
        return str(face.number), shown_box(face.box), score, size_text(face.box), self._style.show(path)

    def path(self, item: FaceOfPhoto, /) -> str:
        """The photo of a face."""
        return item[0]


class IndexedFaceLayout(PlainLayout[IndexedFace]):
    """The layout of faces of the index."""

    fields = ("path", "face_id", "face_number", "box", "score", "size", "person")
    columns = (
        Column("face", right=True),
        Column("box"),
        Column("score", right=True),
        Column("size"),
        Column("path", path=True),
        Column("person", right=True),
    )

    def __init__(self, style: PathStyle, *, embeddings: bool = False) -> None:
        self._style, self._embeddings = style, embeddings

    def record(self, face: IndexedFace) -> dict[str, JsonValue]:
        """Convert a face to plain values: photo, ids, box, score, width and height in pixels, optional embedding."""
        record: dict[str, JsonValue] = {
            **path_record(self._style.show(face.path)),
            "face_id": face.face_id,
            "face_number": face.number,
            "box": box_record(face.box),
            "score": round(face.score, 4),
            "size": size_record(face.box),
            "person": face.person,
        }
        return record | embedding_record(face.embedding) if self._embeddings else record

    def cells(self, face: IndexedFace) -> tuple[str, ...]:
        """The cells of a face."""
        person = "" if face.person is None else str(face.person)
        score, path = f"{face.score:.4f}", self._style.show(face.path)
        return str(face.face_id), shown_box(face.box), score, size_text(face.box), path, person

    def path(self, face: IndexedFace, /) -> str:
        """The photo of a face."""
        return face.path


def embedding_record(embedding: FloatArray) -> dict[str, JsonValue]:
    """An embedding, float32 (d,), for JSON."""
    return {"embedding": [round(float(value), 7) for value in embedding]}
