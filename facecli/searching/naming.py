"""What a query names: a photo's file, the image on stdin, or a face of the index; and what is said of one that fails."""

from __future__ import annotations

import os

from msgspec import Struct

from facecli.config import LARGEST_FACE_ID, whole_number
from facecli.errors import PhotoError, QueryError, quoted
from facecli.types import QueryFace, Skipped, SkipReason

STDIN = "-"
FACE_PREFIX = "face:"
SAID = {
    SkipReason.UNREADABLE: "the photo cannot be read",
    SkipReason.NOT_AN_IMAGE: "not an image",
    SkipReason.TRUNCATED: "the photo is cut off",
    SkipReason.TOO_LARGE: "the photo is too large",
    SkipReason.UNSUPPORTED: "this kind of image is not supported",
    SkipReason.CHANGED: "the photo changed while it was read",
    SkipReason.PERMISSION: "no permission to read the photo",
    SkipReason.VANISHED: "no such photo",
    SkipReason.UNAVAILABLE: "the photo cannot be read now",
}


class PhotoQuery(Struct, frozen=True):
    """A query by a photo: `path` is absolute, or `-` for the image on stdin."""

    query: str
    path: str


class FaceQuery(Struct, frozen=True):
    """A query by a face of the index."""

    query: str
    face_id: int


def name_query(query: str, working_directory: str) -> PhotoQuery | FaceQuery:
    """What a query names, as it was typed; raises QueryError on a face without a number."""
    if not query.startswith(FACE_PREFIX):
        return name_photo(query, working_directory)
    face_id = whole_number(query.removeprefix(FACE_PREFIX), LARGEST_FACE_ID)
    if not face_id:
        raise QueryError("not the number of a face", quoted(query), hint=f"face:12, or ./{quoted(query)} for a file of that name")
    return FaceQuery(query, face_id)


def name_photo(query: str, working_directory: str) -> PhotoQuery:
    """The photo that a name means where only photos can be meant."""
    return PhotoQuery(query, STDIN if query == STDIN else absolute_path(query, working_directory))


def absolute_path(path: str, working_directory: str) -> str:
    """The absolute path, tidied; one with `..` stays as it is, since what stands before it may be a link."""
    whole = os.path.join(working_directory, path)
    return whole if ".." in path.split("/") else os.path.normpath(whole)


def refusal(skipped: Skipped, query: str) -> PhotoError:
    """The error that says why a photo cannot be a query."""
    detail = skipped.detail.replace(": ", ", ")
    what = SAID[skipped.reason]
    return PhotoError(f"{what} ({detail})" if detail and skipped.reason not in (SkipReason.VANISHED, SkipReason.PERMISSION) else what, query)


def choose_faces(query: str, faces: tuple[QueryFace, ...], face: str) -> tuple[QueryFace, ...]:
    """The faces that --face means: the largest, all, or one by its number; raises QueryError where it is not there."""
    if not faces:
        raise QueryError("no face found in the photo", query)
    if face == "all":
        return faces
    number = 1 if face == "largest" else int(face)
    if number > len(faces):
        raise QueryError(f"there is no face {number}, the photo has {len(faces)}", query, hint=f"--face 1 to {len(faces)}, or --face all")
    return (faces[number - 1],)
