"""Which photos a command is limited to: below directories, of a time, near a place."""

from __future__ import annotations

import fnmatch
import glob
import math
import os
import re
from datetime import datetime

from msgspec import Struct

from facecli.captures import wall_time
from facecli.directories import absolute
from facecli.errors import UsageError, check_name, quoted

NEARBY_KM = 10.0
_EARTH_KM = 6371.0088
"""The mean radius of the Earth."""
_MOST_KM = 20_100
_TIME = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d))?)?)?)?")
_GLOB = re.compile(r"[*?\[]")


class Place(Struct, frozen=True):
    """A circle on the Earth."""

    latitude: float
    longitude: float
    kilometres: float = NEARBY_KM

    def holds(self, latitude: float, longitude: float) -> bool:
        """Whether a point lies within, by the great circle (haversine)."""
        here, there = math.radians(self.latitude), math.radians(latitude)
        across = math.radians(longitude - self.longitude)
        chord = math.sin((there - here) / 2) ** 2 + math.cos(here) * math.cos(there) * math.sin(across / 2) ** 2
        return 2 * _EARTH_KM * math.asin(min(1.0, math.sqrt(chord))) <= self.kilometres

    @property
    def reach(self) -> float:
        """How many degrees of latitude it extends to the north and to the south."""
        return math.degrees(self.kilometres / _EARTH_KM)


class PhotoLimits(Struct, frozen=True):
    """What a photo must fulfil; all of it."""

    under: tuple[str, ...] = ()
    """Absolute directories, photos or patterns; a photo is at or below one of them."""
    after_ms: int | None = None
    """The earliest time of the camera's clock, as in Capture."""
    before_ms: int | None = None
    """The first time that is too late."""
    near: Place | None = None

    def __bool__(self) -> bool:
        return self != PhotoLimits()

    @property
    def timed(self) -> bool:
        """Whether a photo without a date is left out."""
        return self.after_ms is not None or self.before_ms is not None


def read_limits(
    under: tuple[str, ...] = (), after: str | None = None, before: str | None = None, near: str | None = None
) -> PhotoLimits:
    """Read limits as typed; raises UsageError on what is none."""
    return PhotoLimits(
        tuple(_absolute(os.path.expanduser(check_name(one, "--under"))) for one in under),
        None if after is None else read_time(after),
        None if before is None else read_time(before),
        None if near is None else read_place(near),
    )


def _absolute(path: str) -> str:
    """The absolute path or pattern; the working directory is no part of the pattern."""
    try:
        whole = absolute(path)
        if os.path.isabs(path) or not is_pattern(whole):
            return whole
        return os.path.normpath(os.path.join(glob.escape(os.getcwd()), path))
    except OSError as error:
        raise UsageError(f"the working directory cannot be used ({error.strerror})", path) from error


def read_time(text: str) -> int:
    """The beginning of a year, month, day, minute or second, as in Capture; raises UsageError on anything else."""
    found = _TIME.fullmatch(text.strip())
    try:
        year, month, day, *clock = (int(part) if part else None for part in found.groups()) if found else [None] * 6
        return wall_time(datetime(year, month or 1, day or 1, *(part or 0 for part in clock)))  # type: ignore[arg-type]  # noqa: DTZ001
    except (ValueError, TypeError, OverflowError):
        raise UsageError(
            "not a time", quoted(text), hint="2004, 2004-07, 2004-07-14 or 2004-07-14T12:30, by the camera's clock"
        ) from None


def read_place(text: str) -> Place:
    """A place LAT,LON[,KM]; raises UsageError on anything else."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    most = (90, 180, _MOST_KM)
    if len(numbers) not in (2, 3) or not all(abs(n) <= m for n, m in zip(numbers, most, strict=False)):
        raise UsageError("not a place", quoted(text), hint="LAT,LON or LAT,LON,KM in degrees, as 48.2,16.37,5")
    if len(numbers) == 3 and numbers[2] < 0:
        raise UsageError("not a distance", quoted(text))
    return Place(*numbers)


def is_pattern(path: str) -> bool:
    """Whether a path is a pattern rather than the name of something."""
    return bool(_GLOB.search(path)) and not os.path.lexists(path)


def pattern_of(path: str) -> re.Pattern[str]:
    """What an absolute pattern matches: photos whose path, or a directory above, is as it says.

    `*` and `?` stand for characters of a name, `**` for any, `[...]` for one of a set.
    """
    parts, at = [], 0
    while at < len(path):
        if path.startswith("**", at):
            parts.append(".*")
            at += 2
            continue
        character = path[at]
        closing = path.find("]", at + 2) if character == "[" else -1
        if closing > 0:
            inner = path[at + 1 : closing]
            inner = f"!{inner[1:]}" if inner[0] == "^" else inner
            parts.append(f"(?!/){fnmatch.translate(f'[{inner}]')[4:-3]}")
            at = closing + 1
            continue
        parts.append({"*": "[^/]*", "?": "[^/]"}.get(character, re.escape(character)))
        at += 1
    return re.compile(f"{''.join(parts)}(?:/.*)?", re.DOTALL)
