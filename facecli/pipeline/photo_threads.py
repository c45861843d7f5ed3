"""A photo a thread: the work of a worker whose networks run in its threads."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future

from msgspec import Struct
from msgspec.structs import replace

from facecli.photos.budget import PixelBudget
from facecli.photos.decode import PhotoReader
from facecli.pipeline.clock import StageClock
from facecli.pipeline.in_flight import Claim, Claims, Outcome
from facecli.pipeline.messages import PhotoChunk, PhotoResult, PhotoTask, Spec
from facecli.pipeline.reading import decode_contents, read_task
from facecli.pipeline.results import fresh, skipped
from facecli.pipeline.runner import ThreadPool
from facecli.pipeline.stages import embed_photos
from facecli.pipeline.ties import Ties
from facecli.types import FileContents, PhotoFile, Skipped
from facecli.vision.models import FaceModels


class _Job(Struct, frozen=True):
    task: PhotoTask
    chunk: PhotoChunk
    clock: StageClock
    claims: list[Claim]


class PhotoThreads:
    """Threads that each take a photo through the whole chain."""

    def __init__(
        self, spec: Spec, ties: Ties, models: Callable[[], FaceModels], budget: PixelBudget, jobs: int
    ) -> None:
        self.most = jobs
        claims = Claims()
        self._pool: ThreadPool[_Job, PhotoResult] = ThreadPool(
            lambda: _PhotoWorker(PhotoReader(spec.reading, budget), ties, models, claims), jobs
        )
        self._open: list[Future[PhotoResult]] = []
        self._lock = threading.Lock()
        self._finishing = False

    def work(self, chunk: PhotoChunk, clock: StageClock) -> tuple[PhotoResult, ...]:
        """The results of a chunk; after `finish` only the first ones."""
        claims: list[Claim] = []
        with self._lock:
            futures = [self._pool.submit(_Job(task, chunk, clock, claims)) for task in chunk.tasks]
            self._open += futures
        try:
            if self._finishing:
                _withdraw(futures)
            return tuple(_first(futures))
        finally:
            _withdraw(futures)
            with self._lock:
                self._open = [future for future in self._open if not future.done()]
            for claim in claims:
                claim.forget()

    def finish(self) -> None:
        """Begin no more photos."""
        self._finishing = True
        with self._lock:
            _withdraw(self._open)

    def close(self) -> None:
        """Wait for the photos in progress."""
        self._pool.close()


def _withdraw(futures: list[Future[PhotoResult]]) -> None:
    for future in reversed(futures):
        future.cancel()


def _first(futures: list[Future[PhotoResult]]) -> Iterator[PhotoResult]:
    """The results before the first one that was withdrawn; raises the first error."""
    for future in futures:
        try:
            result = future.result()
        except CancelledError:
            return
        yield result


class _PhotoWorker:
    """One thread, with a reader of its own."""

    def __init__(self, reader: PhotoReader, ties: Ties, models: Callable[[], FaceModels], claims: Claims) -> None:
        self._reader, self._ties, self._models, self._claims = reader, ties, models, claims

    def __call__(self, job: _Job) -> PhotoResult:
        try:
            return self._take(job)
        finally:
            self._reader.release()

    def _take(self, job: _Job) -> PhotoResult:
        with job.clock.busy("read"):
            contents = read_task(self._reader, job.task, job.chunk, self._ties)
        if isinstance(contents, PhotoResult):
            return contents
        claim, is_first = self._claims.claim(contents.digest)
        job.claims.append(claim)
        outcome = self._look(contents, claim, job) if is_first else self._wait(contents.file, claim)
        return skipped(outcome) if isinstance(outcome, Skipped) else fresh(outcome)

    def _look(self, contents: FileContents, claim: Claim, job: _Job) -> Outcome:
        """Decode the photo and find its faces, once for all copies in progress."""
        try:
            outcome = self._find(contents, job)
        except BaseException as error:
            claim.settle(error)
            raise
        claim.settle(outcome)
        return outcome

    def _wait(self, file: PhotoFile, claim: Claim) -> Outcome:
        """Wait for the outcome of the first copy, after giving back the memory budget that it may need."""
        self._reader.release()
        return replace(claim.outcome(), file=file)

    def _find(self, contents: FileContents, job: _Job) -> Outcome:
        with job.clock.busy("decode"):
            photo = decode_contents(self._reader, contents, job.chunk, self._ties)
        return photo if isinstance(photo, Skipped) else embed_photos(self._models(), [photo], job.clock)[0]

    def close(self) -> None:
        """End the reader's helper process and free its buffers."""
        self._reader.close()
