"""Parse queries: a photo's file, the image on stdin, a face in the index or an embedding."""

from __future__ import annotations

import os
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.config import LARGEST_FACE_ID, whole_number
from facecli.errors import PhotoError, QueryError, UsageError, check_name, quoted
from facecli.types import ByteArray, FloatArray, QueryFace, Skipped, SkipReason

STDIN = "-"
FACE_PREFIX = "face:"
PERSON_PREFIX = "person:"


class PhotoQuery(Struct, frozen=True):
    """A query by a photo: `path` is absolute, or `-` for the image on stdin."""

    query: str
    path: str
    content: bytes | ByteArray | None = None
    """The photo itself if it is not read from a file: the bytes of an image file, or pixels, uint8 (height, width, 3),
    RGB, upright."""
    is_photo: bool = False
    """Whether the query is by a photo, though a person may be called so."""


class FaceQuery(Struct, frozen=True):
    """A query by a face in the index."""

    query: str
    face_id: int


class PersonQuery(Struct, frozen=True):
    """A query by a person in the index."""

    query: str
    person: str
    """An id or a name."""


class EmbeddingQuery(Struct, frozen=True, eq=False):
    """A query by an embedding."""

    query: str
    embedding: FloatArray
    """float32 (d,), unit length."""


Query: TypeAlias = PhotoQuery | FaceQuery | PersonQuery | EmbeddingQuery
QueryValue: TypeAlias = str | os.PathLike[str] | bytes | int | np.integer[Any] | NDArray[np.generic]
"""A query from Python: the path of a photo, `face:ID`, `person:NAME`, a face id, the bytes of an image file, pixels, or
an embedding."""


def read_query(value: QueryValue, working_directory: str) -> Query:
    """The query for a value from Python; raises UsageError if it is not a query.

    A path object is always a photo, and `-` a file of that name. An array is pixels, uint8 (height, width, 3), RGB,
    upright, or an embedding, floats (d,) of any length.
    """
    if isinstance(value, str):
        named = name_query(f"./{value}" if value == STDIN else value, working_directory)
        return _from_home(named, working_directory) if isinstance(named, PhotoQuery) else named
    if isinstance(value, bytes):
        return PhotoQuery("bytes", "bytes", value)
    if isinstance(value, np.ndarray):
        return _read_array(value)
    if isinstance(value, Integral) and not isinstance(value, bool):
        return name_query(f"{FACE_PREFIX}{quoted(value)}", working_directory)
    if isinstance(value, os.PathLike):
        return replace(_from_home(name_photo(path_text(value), working_directory), working_directory), is_photo=True)
    raise UsageError("a query must be a path, face:ID, a face id, bytes, pixels or an embedding", type(value).__name__)


def _from_home(query: PhotoQuery, working_directory: str) -> PhotoQuery:
    """The query, with a leading `~` as the home directory, which a shell would have replaced."""
    return replace(query, path=absolute_path(os.path.expanduser(query.query), working_directory))


def path_text(path: str | os.PathLike[str]) -> str:
    """The text of a path from Python; raises UsageError if it is not a path or not a valid file name."""
    name = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    if not isinstance(name, str):
        raise UsageError("a path must be a str or a path object", type(path).__name__)
    try:
        possible = b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise UsageError("not a valid file name", quoted(ascii(name)))
    return name


def _read_array(array: NDArray[np.generic]) -> PhotoQuery | EmbeddingQuery:
    """The query for an array: pixels, uint8 (h, w, 3), or an embedding, floats (d,); raises UsageError for others."""
    array = np.asarray(array)  # masked arrays and others calculate in ways of their own
    shown = f"{array.dtype} {array.shape}"
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size:
        return PhotoQuery("pixels", "pixels", np.ascontiguousarray(array, np.uint8))
    if array.dtype.kind != "f" or array.ndim != 1:
        raise UsageError("an array must be pixels, uint8 (height, width, 3), or an embedding, floats (d,)", shown)
    largest = np.abs(array).max(initial=0)
    if not (np.isfinite(largest) and largest > 0):
        raise UsageError("an embedding must be finite and not zero", shown)
    numbers = (array / largest).astype(np.float64)  # so that the sum of the squares cannot overflow
    return EmbeddingQuery("embedding", (numbers / np.linalg.norm(numbers)).astype(np.float32))


def name_query(query: str, working_directory: str) -> PhotoQuery | FaceQuery | PersonQuery:
    """The query for a command line argument; raises QueryError on a face without a number, a person without a name."""
    if query.startswith(PERSON_PREFIX):
        person = query.removeprefix(PERSON_PREFIX).strip()
        if not person:
            raise QueryError("not a person", quoted(query), hint="person:12 or person:Anna")
        return PersonQuery(query, person)
    if not query.startswith(FACE_PREFIX):
        return name_photo(query, working_directory)
    face_id = whole_number(query.removeprefix(FACE_PREFIX), LARGEST_FACE_ID)
    if not face_id:
        raise QueryError(
            "not the number of a face", quoted(query), hint=f"face:12, or ./{quoted(query)} for a file of that name"
        )
    return FaceQuery(query, face_id)


def name_photo(query: str, working_directory: str) -> PhotoQuery:
    """The query for an argument that can only be a photo."""
    check_name(query, "a photo to look for faces in")
    return PhotoQuery(query, STDIN if query == STDIN else absolute_path(query, working_directory))


def absolute_path(path: str, working_directory: str) -> str:
    """The absolute, normalised path; a path with `..` is not normalised, since the part before it may be a link."""
    whole = os.path.join(working_directory, path)
    return whole if ".." in path.split("/") else os.path.normpath(whole)


def refusal(skipped: Skipped, query: str) -> PhotoError:
    """The error for a photo that cannot be used as a query."""
    detail = skipped.detail.replace(": ", ", ")
    what = skipped.reason.said
    return PhotoError(
        f"{what} ({detail})" if detail and skipped.reason not in (SkipReason.VANISHED, SkipReason.PERMISSION) else what,
        query,
    )


def choose_faces(query: str, faces: tuple[QueryFace, ...], face: str) -> tuple[QueryFace, ...]:
    """The faces chosen by --face: the largest, all, or one by number; raises QueryError if there is no such face."""
    if not faces:
        raise QueryError("no face found in the photo", query)
    if face == "all":
        return faces
    number = 1 if face == "largest" else int(face)
    if number > len(faces):
        raise QueryError(
            f"there is no face {number}, the photo has {len(faces)}",
            query,
            hint=f"--face 1 to {len(faces)}, or --face all" if len(faces) > 1 else "--face 1",
        )
    return (faces[number - 1],)
