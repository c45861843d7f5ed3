"""What goes to a worker, and what comes back of one file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from facecli.store.records import KnownFile
from facecli.types import IndexedPhoto, PhotoFile, Skipped


@dataclass(frozen=True, slots=True)
class FileTask:
    """A file that the plan wants looked at, and what the index knows of its path."""

    file: PhotoFile
    known: KnownFile | None


@dataclass(frozen=True, slots=True)
class Unaltered:
    """The file has a new time but the content that the index knows under its path."""

    file: PhotoFile
    photo_id: int


@dataclass(frozen=True, slots=True)
class Recognised:
    """The index knows the content under other paths."""

    file: PhotoFile
    digest: bytes
    known: KnownFile | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The content was removed from the index and is kept out."""

    file: PhotoFile
    known: KnownFile | None


@dataclass(frozen=True, slots=True)
class Fresh:
    """The content was looked at in this run."""

    photo: IndexedPhoto
    known: KnownFile | None


ChainResult: TypeAlias = Unaltered | Recognised | Refused | Fresh | Skipped
