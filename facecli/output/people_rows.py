"""How people, their faces, and pairs of people who may be one are shown."""

from __future__ import annotations

from typing import TypeAlias

from facecli.output.layout import Column, PlainLayout
from facecli.output.paths import path_record
from facecli.output.records import PathStyle, box_record, similarity_text
from facecli.persons import AlikePeople, PersonFace, PersonInfo
from facecli.types import JsonValue, shown_box

NONE = "-"
"""What stands for no name, and for no cover."""


class PeopleLayout(PlainLayout[PersonInfo]):
    """The layout of people."""

    fields = ("person", "name", "hidden", "faces", "photos", "cover", "cohesion", "first", "last")
    columns = (
        Column("person", right=True),
        Column("name"),
        Column("faces", right=True),
        Column("photos", right=True),
        Column("cohesion", right=True),
        Column("cover"),
    )

    def record(self, person: PersonInfo, /) -> dict[str, JsonValue]:
        """Convert a person to plain values."""
        return {
            "person": person.person_id,
            "name": person.name,
            "hidden": person.hidden,
            "faces": person.faces,
            "photos": person.photos,
            "cover": person.cover,
            "cohesion": round(person.cohesion, 4),
            "first": person.first,
            "last": person.last,
        }

    def cells(self, person: PersonInfo, /) -> tuple[str, ...]:
        """The cells of a person."""
        cover = NONE if person.cover is None else f"face:{person.cover}"
        name = (person.name or NONE) + (" (hidden)" if person.hidden else "")
        counts = str(person.faces), str(person.photos), f"{person.cohesion:.2f}"
        return str(person.person_id), name, *counts, cover


FaceOfPerson: TypeAlias = tuple[PersonInfo, PersonFace]


class PersonFaceLayout(PlainLayout[FaceOfPerson]):
    """The layout of the faces of people."""

    fields = ("person", "name", "face", "face_id", "path", "box", "similarity", "by")
    columns = (
        Column("person", right=True),
        Column("name"),
        Column("similarity", right=True),
        Column("path", path=True),
        Column("face", right=True),
        Column("box"),
        Column("by"),
    )

    def __init__(self, style: PathStyle) -> None:
        self._style = style

    def record(self, item: FaceOfPerson, /) -> dict[str, JsonValue]:
        """Convert a face of a person to plain values."""
        person, face = item
        return {
            "person": person.person_id,
            "name": person.name,
            "face": face.face_id,
            "face_id": face.face_id,
            **path_record(self._style.show(face.path)),
            "box": box_record(face.box),
            "similarity": round(face.similarity, 6),
            "by": _by(face),
        }

    def cells(self, item: FaceOfPerson, /) -> tuple[str, ...]:
        """The cells of a face."""
        person, face = item
        whose = str(person.person_id), person.name or NONE, similarity_text(face.similarity)
        return *whose, self._style.show(face.path), str(face.face_id), shown_box(face.box), _by(face)

    def path(self, item: FaceOfPerson, /) -> str:
        """The photo of a face."""
        return item[1].path


def _by(face: PersonFace) -> str:
    return "user" if face.decided else "auto"


class AlikeLayout(PlainLayout[AlikePeople]):
    """The layout of pairs of people who may be one."""

    fields = ("person", "name", "other", "other_name", "similarity")
    columns = (
        Column("similarity", right=True),
        Column("person", right=True),
        Column("name"),
        Column("other", right=True),
        Column("name"),
    )

    def record(self, pair: AlikePeople, /) -> dict[str, JsonValue]:
        """Convert a pair to plain values."""
        return {
            "person": pair.person.person_id,
            "name": pair.person.name,
            "other": pair.other.person_id,
            "other_name": pair.other.name,
            "similarity": round(pair.similarity, 6),
        }

    def cells(self, pair: AlikePeople, /) -> tuple[str, ...]:
        """The cells of a pair."""
        one, other = ((str(person.person_id), person.name or NONE) for person in (pair.person, pair.other))
        return similarity_text(pair.similarity), *one, *other
