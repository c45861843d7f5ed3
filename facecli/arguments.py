"""Read what scripts give to the library: paths, photos, ids of faces, limits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from numbers import Integral
from typing import Any, TypeAlias, TypedDict

import numpy as np

from facecli.directories import absolute
from facecli.errors import UsageError, check_name, quoted
from facecli.limits import PhotoLimits, read_limits
from facecli.searching.query_parser import FACE_PREFIX, FaceQuery, PhotoQuery, QueryValue, path_text, read_query

StrPath: TypeAlias = str | os.PathLike[str]
Time: TypeAlias = str | int | date
FaceId: TypeAlias = int | np.integer[Any]


class GivenLimits(TypedDict, total=False):
    """Which photos: what `--under`, `--after`, `--before` and `--near` of the command line say."""

    under: StrPath | Iterable[StrPath]
    """A path or several, which may be patterns."""
    after: Time
    """A text, a year, a day, or a time without a zone."""
    before: Time
    near: str | Sequence[float]
    """A text, or degrees north and east, and kilometres if they are not 10."""


def named_path(path: StrPath) -> str:
    """An absolute path; raises UsageError on an empty name, and on what is no path."""
    name = os.path.expanduser(check_name(path_text(path), "a path"))
    try:
        return absolute(name)
    except OSError as error:
        raise UsageError(f"the working directory cannot be used ({error.strerror})", name) from error


def named_model(model: StrPath | None) -> str | None:
    """A pack by its name, or its directory, absolute."""
    return model if model is None or (isinstance(model, str) and os.sep not in model) else named_path(model)


def here() -> str:
    """The working directory; empty where it is gone, so that only what is relative to it is not found."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def several_paths(photos: Iterable[StrPath]) -> tuple[StrPath, ...]:
    """Paths in a row; raises UsageError on what is none."""
    if isinstance(photos, bytes) or not isinstance(photos, Iterable):
        raise UsageError("photos are named by a path or several", type(photos).__name__)
    return tuple(photos)


def read_photo_query(value: QueryValue) -> PhotoQuery:
    """A query that is a photo; raises UsageError on other ones."""
    query = read_query(value, here())
    if not isinstance(query, PhotoQuery):
        raise UsageError("a photo is a path, the bytes of an image file, or pixels", query.query)
    return query


def face_id_of(target: StrPath | FaceId) -> int | None:
    """The face id of a target, None for a path; raises QueryError if the number is not a face id."""
    if isinstance(target, Integral) or (isinstance(target, str) and target.startswith(FACE_PREFIX)):
        query = read_query(target, "/")
        return query.face_id if isinstance(query, FaceQuery) else None
    return None


def limits_of(given: GivenLimits) -> PhotoLimits:
    """Limits as a script gives them; raises UsageError on what is none."""
    unknown = given.keys() - GivenLimits.__annotations__.keys()
    if unknown:
        raise UsageError("not a limit", quoted(min(unknown)), hint=", ".join(GivenLimits.__annotations__))
    under, near = given.get("under", ()), given.get("near")
    paths = (under,) if isinstance(under, str | os.PathLike) else several_paths(under)
    after, before = (_time_text(given.get(name)) for name in ("after", "before"))
    return read_limits(tuple(map(path_text, paths)), after, before, _place_text(near))


def _time_text(time: object) -> str | None:
    """A time as typed, which has whole seconds."""
    return None if time is None else str(time.replace(microsecond=0) if isinstance(time, datetime) else time)


def _place_text(near: object) -> str | None:
    """A place as typed; raises UsageError on what is neither a text nor numbers."""
    if near is None or isinstance(near, str):
        return near
    if not isinstance(near, Iterable):
        raise UsageError("a place is a text, or degrees north and east", quoted(near))
    return ",".join(map(str, near))
