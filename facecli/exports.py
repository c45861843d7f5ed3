"""What an export holds: faces or photos as records, and the fields of these records."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.captures import Capture, iso_offset


class ExportedPhoto(Struct, frozen=True):
    """A photo of the index."""

    photo_id: int
    path: str
    """Absolute."""
    digest: bytes
    width: int
    height: int
    capture: Capture
    faces: int = 0


class ExportedFace(Struct, frozen=True, eq=False):
    """A face of the index, with its photo and its person."""

    face_id: int
    photo: ExportedPhoto
    box: tuple[float, ...]
    """x1, y1, x2, y2 in pixels of the upright photo."""
    landmarks: tuple[float, ...]
    """x and y of five points in pixels of the upright photo."""
    score: float
    found_by: str
    person_id: int | None
    person: str | None
    embedding: NDArray[np.float16] | None
    """float16 (d,), unit length."""


class FieldKind(StrEnum):
    """The type of a field."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    BYTES = "bytes"
    TIME = "time"
    """Milliseconds since 1970 by the camera's clock."""
    NUMBERS = "numbers"
    """A fixed number of single-precision numbers."""
    EMBEDDING = "embedding"
    """A fixed number of half-precision numbers."""


class Field(Struct, frozen=True):
    """A field of a record: its value is None where it is not known."""

    name: str
    kind: FieldKind
    of: Callable[[Any], Any]
    length: int = 0
    """The number of numbers."""


class ExportTable(Struct, frozen=True):
    """The fields of an export, and what it says of itself."""

    fields: tuple[Field, ...]
    about: Mapping[str, str]


def photo_fields(prefix: str = "") -> tuple[Field, ...]:
    """The fields of a photo; `prefix` names the attribute that holds it in a record, with a dot."""

    def at(name: str) -> Callable[[Any], Any]:
        return operator.attrgetter(prefix + name)

    path, digest, offset = at("path"), at("digest"), at("capture.offset_minutes")
    return (
        Field("photo_id", FieldKind.INTEGER, at("photo_id")),
        Field("path", FieldKind.TEXT, lambda one: os.fsencode(path(one)).decode("utf-8", "replace")),
        Field("path_bytes", FieldKind.BYTES, lambda one: _odd_name(path(one))),
        Field("digest", FieldKind.TEXT, lambda one: digest(one).hex()),
        Field("width", FieldKind.INTEGER, at("width")),
        Field("height", FieldKind.INTEGER, at("height")),
        Field("taken_at", FieldKind.TIME, at("capture.taken_ms")),
        Field("offset", FieldKind.TEXT, lambda one: iso_offset(offset(one))),
        Field("lat", FieldKind.NUMBER, at("capture.latitude")),
        Field("lon", FieldKind.NUMBER, at("capture.longitude")),
    )


PHOTO_FIELDS = (*photo_fields(), Field("faces", FieldKind.INTEGER, operator.attrgetter("faces")))


def face_fields(dimension: int) -> tuple[Field, ...]:
    """The fields of a face; without embeddings if `dimension` is 0."""
    at = operator.attrgetter
    fields = (
        Field("face_id", FieldKind.INTEGER, at("face_id")),
        *photo_fields("photo."),
        Field("box", FieldKind.NUMBERS, at("box"), 4),
        Field("landmarks", FieldKind.NUMBERS, at("landmarks"), 10),
        Field("score", FieldKind.NUMBER, at("score")),
        Field("found_by", FieldKind.TEXT, at("found_by")),
        Field("person_id", FieldKind.INTEGER, at("person_id")),
        Field("person", FieldKind.TEXT, at("person")),
    )
    return (*fields, Field("embedding", FieldKind.EMBEDDING, at("embedding"), dimension)) if dimension else fields


def _odd_name(path: str) -> bytes | None:
    """The bytes of a name that is not UTF-8."""
    raw = os.fsencode(path)
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw
    return None
