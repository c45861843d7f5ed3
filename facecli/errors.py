"""Errors of facecli: each class has an exit code, each instance says what is wrong, where, and the way out."""

from __future__ import annotations

LONGEST_QUOTE = 60


def quoted(asked: object) -> str:
    """The user's input, shortened for a message."""
    try:
        text = str(asked)
    except ValueError:  # Python refuses to print integers of thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}…"


class FacecliError(Exception):
    """An error for the user, printed as `facecli: error: WHAT: WHERE`, with the hint on a second line."""

    exit_code = 2

    def __init__(self, what: str, where: object = "", *, hint: str = "") -> None:
        super().__init__(what, where)
        self.what = what
        self.where = str(where)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what}: {self.where}" if self.where else self.what


class UsageError(FacecliError):
    """An invalid value, or options that contradict each other."""


class PhotoError(FacecliError):
    """A photo that the user named cannot be used."""


class QueryError(PhotoError):
    """The query has no face, or not the requested one."""


class PackError(FacecliError):
    """A model pack is missing, damaged or not usable."""


class DeviceError(FacecliError):
    """A requested device is not available."""


class DeviceFull(DeviceError):
    """A device has too little memory for a batch of this size."""


class WorkerError(FacecliError):
    """No worker is left for the photos of a run, or none could be had."""


class StoreError(FacecliError):
    """The index cannot be opened, read or written."""


class IndexMissing(StoreError):
    """There is no index."""


class IndexDamaged(StoreError):
    """The index holds something that facecli did not write."""


class IndexLocked(StoreError):
    """Another process is writing to the index."""


class IndexMismatch(StoreError):
    """The index was made with another model or other settings than requested."""


class OutputError(FacecliError):
    """An output cannot be written."""


class Interrupted(FacecliError):
    """A signal ended the command; what was done so far is kept."""

    def __init__(self, signal_number: int, what: str) -> None:
        super().__init__(what)
        self.exit_code = 128 + signal_number


def check_name(name: str, where: str) -> str:
    """Return a path unchanged; raises UsageError if it is empty, since it would mean the working directory.

    `where` is the option, list or variable that holds it.
    """
    if not name:
        raise UsageError(
            "an empty name",
            where,
            hint="write . for the working directory; in a script, a variable may be unset",
        )
    return name
