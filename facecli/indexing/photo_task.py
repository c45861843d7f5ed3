"""The work on one file: read it, recognise a known content, decode it and find its faces."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from msgspec import Struct

from facecli.indexing.outcomes import ChainResult, FileTask, Fresh, Recognised, Refused, Unaltered
from facecli.photos.decode import PhotoReader
from facecli.pipeline.clock import StageClock
from facecli.pipeline.in_flight import Claim, Claims, Outcome, under_name
from facecli.pipeline.stages import embed_photos
from facecli.reporting import Reporter
from facecli.store.records import KeptOut, KnownFile
from facecli.types import FileContents, PhotoFile, Skipped
from facecli.vision.models import FaceModels

DEATHS = 2
"""The number of crashed runs after which a content is decoded in a separate process."""


class ContentMemory(Protocol):
    """Lookups in the index; called from several threads."""

    def photo_of_content(self, digest: bytes) -> int | None: ...

    def kept_out(self, digest: bytes) -> KeptOut: ...


class DecodeJournal(Protocol):
    """Records the contents being decoded; yields the number of runs that crashed while decoding one."""

    def in_flight(self, digest: bytes) -> AbstractContextManager[int]: ...


class Shared(Struct, frozen=True):
    """The objects shared by the workers of a run; all are thread-safe."""

    models: Callable[[], FaceModels]
    memory: ContentMemory
    journal: DecodeJournal
    claims: Claims
    clock: StageClock
    reporter: Reporter
    force: bool
    """Whether known contents are processed again."""


class PhotoTask:
    """A worker of the pool; it owns a reader with its buffers, everything else is shared."""

    def __init__(self, reader: PhotoReader, shared: Shared) -> None:
        self._reader, self._shared = reader, shared

    def __call__(self, task: FileTask) -> ChainResult:
        try:
            return self._take(task)
        finally:
            self._reader.release()

    def _take(self, task: FileTask) -> ChainResult:
        with self._shared.clock.busy("read"):
            contents = self._reader.read(task.file)
        if isinstance(contents, Skipped):
            return contents
        if self._shared.memory.kept_out(contents.digest).photo:
            return Refused(contents.file, task.known)
        if not self._shared.force and (recognised := self._recognise(contents, task.known)) is not None:
            return recognised
        claim, is_first = self._shared.claims.claim(contents.digest)
        outcome = self._look(contents, claim) if is_first else self._wait(contents.file, claim)
        return outcome if isinstance(outcome, Skipped) else Fresh(outcome, task.known, claim)

    def _recognise(self, contents: FileContents, known: KnownFile | None) -> Unaltered | Recognised | None:
        """The result from the index if it already has the content, else None."""
        if known is not None and known.photo_id is not None and known.digest == contents.digest:
            return Unaltered(contents.file, known.photo_id)
        if self._shared.memory.photo_of_content(contents.digest) is not None:
            return Recognised(contents.file, contents.digest, known)
        return None

    def _look(self, contents: FileContents, claim: Claim) -> Outcome:
        """Decode the photo and find its faces, once for all copies in progress."""
        try:
            outcome = self._find(contents)
        except BaseException as error:
            claim.settle(error)
            raise
        claim.settle(outcome)
        return outcome

    def _wait(self, file: PhotoFile, claim: Claim) -> Outcome:
        """Wait for the outcome of the first copy, after giving back the memory budget that it may need."""
        self._reader.release()
        return under_name(claim.outcome(), file)

    def _find(self, contents: FileContents) -> Outcome:
        with self._shared.journal.in_flight(contents.digest) as deaths, self._shared.clock.busy("decode"):
            photo = self._reader.decode(contents, isolated=deaths >= DEATHS)
        if self._reader.warning:
            self._shared.reporter.detail(f"{contents.file.path}: {self._reader.warning}")
        return (
            photo if isinstance(photo, Skipped) else embed_photos(self._shared.models(), [photo], self._shared.clock)[0]
        )

    def close(self) -> None:
        """End the reader's helper process and free its buffers."""
        self._reader.close()
