"""The task and the result of a worker for one file."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from facecli.pipeline.in_flight import Claim
from facecli.store.records import KnownFile
from facecli.types import IndexedPhoto, PhotoFile, Skipped


class FileTask(Struct, frozen=True):
    """A file to read, and the entry of the index for its path."""

    file: PhotoFile
    known: KnownFile | None


class Unaltered(Struct, frozen=True):
    """The file has a new mtime but the same content as in the index."""

    file: PhotoFile
    photo_id: int


class Recognised(Struct, frozen=True):
    """The index has the content under other paths."""

    file: PhotoFile
    digest: bytes
    known: KnownFile | None


class Refused(Struct, frozen=True):
    """The content was removed from the index earlier and stays removed."""

    file: PhotoFile
    known: KnownFile | None


class Fresh(Struct, frozen=True):
    """The content was read in this run."""

    photo: IndexedPhoto
    known: KnownFile | None
    claim: Claim
    """Shared by the copies of the content until it is stored."""


ChainResult: TypeAlias = Unaltered | Recognised | Refused | Fresh | Skipped
