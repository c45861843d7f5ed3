"""When, where and with what a photo was taken, as its file says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec import Struct

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_NAME = 64
"""The most characters of a maker's and a model's name that are kept."""


class Capture(Struct, frozen=True, array_like=True):
    """What the EXIF data of a photo says; None where it says nothing, or nothing that can be true."""

    taken_ms: int | None = None
    """The time of the camera's clock, in milliseconds since 1970 as if that were UTC."""
    offset_minutes: int | None = None
    """How far that clock was ahead of UTC."""
    latitude: float | None = None
    """Degrees, north positive; latitude and longitude are both known or both None."""
    longitude: float | None = None
    make: str = ""
    model: str = ""


def wall_time(moment: datetime) -> int:
    """A time without a zone in milliseconds since 1970."""
    return (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(milliseconds=1)


_FIRST_MS = wall_time(datetime(1, 1, 1, tzinfo=UTC))
_LAST_MS = wall_time(datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC))


def is_time(taken_ms: int) -> bool:
    """Whether a number of milliseconds since 1970 is in the years 1 to 9999, which are all that can be shown."""
    return _FIRST_MS <= taken_ms <= _LAST_MS


def iso_time(taken_ms: int | None) -> str | None:
    """A time as 2004-07-14T12:00:00, with milliseconds if it has any; None for None and beyond the years 1 to 9999."""
    if taken_ms is None or not is_time(taken_ms):
        return None
    moment = _EPOCH + timedelta(milliseconds=taken_ms)
    return moment.replace(tzinfo=None).isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


def iso_offset(minutes: int | None) -> str | None:
    """An offset from UTC as +02:00."""
    if minutes is None:
        return None
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
