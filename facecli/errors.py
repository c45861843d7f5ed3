"""The errors of facecli: each class carries its exit code, each instance what, where and a way out."""

from __future__ import annotations

LONGEST_QUOTE = 60


def quoted(asked: object) -> str:
    """What was typed, short enough for a message."""
    try:
        text = str(asked)
    except ValueError:  # Python writes out no whole number of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


class FacecliError(Exception):
    """Something the user must know, printed as `facecli: error: WHAT: WHERE` and, with a hint, a second line."""

    exit_code = 2

    def __init__(self, what: str, where: object = "", *, hint: str = "") -> None:
        super().__init__(what, where)
        self.what = what
        self.where = str(where)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}: {self.where}" if self.where else self.what


class UsageError(FacecliError):
    """A command line that asks for something that does not exist or does not go together."""


class PhotoError(FacecliError):
    """A photo that was named on the command line cannot be used."""


class QueryError(PhotoError):
    """A query without a face, or with fewer faces than were asked for."""


class PackError(FacecliError):
    """A model pack that is missing, damaged or not usable."""


class DeviceError(FacecliError):
    """A device that was asked for by name cannot be had."""


class DeviceFull(DeviceError):
    """A device has not the memory for a batch of this size."""


class StoreError(FacecliError):
    """The index cannot be opened, read or written."""


class IndexMissing(StoreError):
    """There is no index where one is needed."""


class IndexDamaged(StoreError):
    """The index holds something that facecli did not write."""


class IndexLocked(StoreError):
    """Another process is writing to the index."""


class IndexMismatch(StoreError):
    """The index was made with another model or other settings than those asked for."""


class OutputError(FacecliError):
    """A result cannot be written where it was asked for."""


class Interrupted(FacecliError):
    """The user or the system asked for an end; what is done is kept."""

    def __init__(self, signal_number: int, what: str) -> None:
        super().__init__(what)
        self.exit_code = 128 + signal_number


def check_name(name: str, where: str) -> str:
    """Give a path back as it was named; raises UsageError where it is empty, since it would stand for the working directory.

    `where` says in which option, list or variable it stands.
    """
    if not name:
        raise UsageError(
            "an empty name",
            where,
            hint="the working directory is named by a dot; a script may have left a variable unset",
        )
    return name
