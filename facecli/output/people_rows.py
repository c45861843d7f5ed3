"""People and their faces as a table, as rows, and as JSON Lines."""

from __future__ import annotations

from typing import Protocol

from facecli.output.paths import encoded, path_record, printable, tsv_path
from facecli.output.records import PathStyle, box_record, box_text, similarity_text
from facecli.output.terminal import Terminal, columns_of, pad, paint
from facecli.types import Box, JsonValue

HEADER = ("person", "name", "faces", "photos", "alike", "cover")
RIGHT = {0, 2, 3, 4}
"""The columns of numbers."""
NONE = "-"
"""The name of a person without one, in rows."""


class ListedPerson(Protocol):
    """A person of a list."""

    @property
    def person_id(self) -> int: ...
    @property
    def name(self) -> str | None: ...
    @property
    def hidden(self) -> bool: ...
    @property
    def faces(self) -> int: ...
    @property
    def photos(self) -> int: ...
    @property
    def cover(self) -> int | None: ...
    @property
    def cohesion(self) -> float: ...
    @property
    def first(self) -> str | None: ...
    @property
    def last(self) -> str | None: ...


class ListedFace(Protocol):
    """A face of a person."""

    @property
    def face_id(self) -> int: ...
    @property
    def similarity(self) -> float: ...
    @property
    def decided(self) -> bool: ...
    @property
    def path(self) -> str: ...
    @property
    def box(self) -> Box: ...


class ListedPair(Protocol):
    """Two people who may be one."""

    @property
    def person_id(self) -> int: ...
    @property
    def name(self) -> str | None: ...
    @property
    def other(self) -> int: ...
    @property
    def other_name(self) -> str | None: ...
    @property
    def similarity(self) -> float: ...


def person_record(person: ListedPerson) -> dict[str, JsonValue]:
    """Convert a person to the JSON object of `facecli people --json`."""
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


def person_face_record(person: ListedPerson, face: ListedFace, style: PathStyle) -> dict[str, JsonValue]:
    """Convert a face of a person to the JSON object of `facecli people --json --faces`."""
    return {
        "person": person.person_id,
        "name": person.name,
        "face": face.face_id,
        "face_id": face.face_id,
        **path_record(style.show(face.path)),
        "box": box_record(face.box),
        "similarity": round(face.similarity, 6),
        "by": "user" if face.decided else "auto",
    }


def person_row(person: ListedPerson) -> bytes:
    """A tab-separated row: person, name, faces, photos, cohesion, cover."""
    return b"\t".join([*map(encoded, _cells(person))]) + b"\n"


def person_face_row(person: ListedPerson, face: ListedFace, style: PathStyle) -> bytes:
    """A tab-separated row: person, name, similarity, path, face, box, and who put it there."""
    cells = (str(person.person_id), person.name or NONE, similarity_text(face.similarity))
    rest = (str(face.face_id), box_text(face.box), "user" if face.decided else "auto")
    return b"\t".join([*map(encoded, cells), tsv_path(style.show(face.path)), *map(encoded, rest)]) + b"\n"


def suggestion_record(pair: ListedPair) -> dict[str, JsonValue]:
    """Convert two people who may be one to the JSON object of `facecli people suggest --json`."""
    return {
        "person": pair.person_id,
        "name": pair.name,
        "other": pair.other,
        "other_name": pair.other_name,
        "similarity": round(pair.similarity, 6),
    }


def suggestion_row(pair: ListedPair) -> bytes:
    """A tab-separated row: similarity, person, name, person, name."""
    cells = (str(pair.person_id), pair.name or NONE, str(pair.other), pair.other_name or NONE)
    return b"\t".join(map(encoded, (similarity_text(pair.similarity), *cells))) + b"\n"


def people_table(people: list[ListedPerson], terminal: Terminal) -> str:
    """An aligned table for a terminal."""
    rows = [HEADER, *(tuple(map(printable, _cells(person))) for person in people)]
    widths = [max(columns_of(row[column]) for row in rows) for column in range(len(HEADER))]
    lines = []
    for number, row in enumerate(rows):
        cells = [
            " " * (width - columns_of(text)) + text if column in RIGHT else pad(text, width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        line = "  ".join(cells).rstrip()
        lines.append(paint(line, "2") if terminal.colour and number == 0 else line)
    return "".join(line + "\n" for line in lines)


def _cells(person: ListedPerson) -> tuple[str, ...]:
    cover = NONE if person.cover is None else f"face:{person.cover}"
    name = (person.name or NONE) + (" (hidden)" if person.hidden else "")
    return str(person.person_id), name, str(person.faces), str(person.photos), f"{person.cohesion:.2f}", cover
