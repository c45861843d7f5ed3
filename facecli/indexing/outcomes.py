"""What goes to a worker, and what comes back of one file."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from facecli.indexing.in_flight import Claim
from facecli.store.records import KnownFile
from facecli.types import IndexedPhoto, PhotoFile, Skipped


class FileTask(Struct, frozen=True):
    """A file that the plan wants looked at, and what the index knows of its path."""

    file: PhotoFile
    known: KnownFile | None


class Unaltered(Struct, frozen=True):
    """The file has a new time but the content that the index knows under its path."""

    file: PhotoFile
    photo_id: int


class Recognised(Struct, frozen=True):
    """The index knows the content under other paths."""

    file: PhotoFile
    digest: bytes
    known: KnownFile | None


class Refused(Struct, frozen=True):
    """The content was removed from the index and is kept out."""

    file: PhotoFile
    known: KnownFile | None


class Fresh(Struct, frozen=True):
    """The content was looked at in this run."""

    photo: IndexedPhoto
    known: KnownFile | None
    claim: Claim
    """Which the content's copies share until the store knows it."""


ChainResult: TypeAlias = Unaltered | Recognised | Refused | Fresh | Skipped
