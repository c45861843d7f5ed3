"""What every kind of engine gives: workers that take chunks, and what they say."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from msgspec import Struct

from facecli import errors
from facecli.errors import DeviceError, FacecliError
from facecli.installation import explain_import_error
from facecli.pipeline.messages import Answer, Hello, PhotoChunk, Trouble

AT_ONCE = 2
"""Chunks that a worker does at once: while the last photos of one are done, those of the next are begun."""


class Failure(Struct, frozen=True):
    """A worker failed, or could not do a chunk."""

    error: Exception
    """A FacecliError where the worker's device or models are at fault, and no photo."""
    number: int = -1
    """The chunk; -1 if none."""
    gone: bool = True
    """Whether the worker has ended."""


Event: TypeAlias = tuple[int, Hello | Answer | Failure]
"""The number of a worker, and what it said or what became of it."""


class Engine(Protocol):
    """Starts workers and carries messages; all methods are called by one thread."""

    name: str
    """What the engine is, in plain words and for the report: threads, processes, ray."""
    most: int
    """The number of workers wanted."""

    def begin(self) -> int:
        """Start a worker; its Hello or its Failure follows."""

    def send(self, worker: int, chunk: PhotoChunk) -> None:
        """Hand a chunk to a worker; its Answer or a Failure follows."""

    def finish(self) -> None:
        """Tell all workers to begin no more photos; they answer what they have."""

    def drop(self, worker: int) -> None:
        """End a worker at once; nothing more is heard of it."""

    def wait(self, seconds: float) -> list[Event]:
        """What has happened; waits up to `seconds` for the first event."""

    def close(self) -> None:
        """End all workers."""


def failure_of(trouble: Trouble) -> Failure:
    """The failure that a worker in another process has told."""
    known = getattr(errors, trouble.kind, None)
    if not (isinstance(known, type) and issubclass(known, FacecliError)):
        return Failure(RuntimeError(trouble.what), trouble.number, gone=False)
    error = known if known.__init__ is FacecliError.__init__ else DeviceError
    return Failure(error(trouble.what, trouble.where, hint=trouble.hint), trouble.number, gone=False)


def trouble_of(error: BaseException, number: int = -1) -> Trouble:
    """What a worker in another process tells of an error."""
    if isinstance(error, ImportError):  # the installation is at fault, and no photo
        error = explain_import_error(error) or DeviceError("a library cannot be loaded", str(error))
    if isinstance(error, FacecliError):
        return Trouble(type(error).__name__, error.what, str(error.where), error.hint, number)
    return Trouble("", f"{type(error).__name__}: {error}", number=number)
