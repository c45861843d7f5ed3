"""A worker of a run: it has the models on one device, opens no index, takes chunks of files and gives their results."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
from msgspec import Struct, field

from facecli import __version__
from facecli.photos.budget import PixelBudget, default_budget
from facecli.photos.decode import PhotoReader
from facecli.photos.opening import OPTIONAL_READERS, is_installed
from facecli.pipeline.clock import StageClock
from facecli.pipeline.cores import count_workers
from facecli.pipeline.in_flight import Claim, Claims, Outcome, under_name
from facecli.pipeline.messages import Answer, Chunk, Hello, PhotoResult, PhotoTask, ResultKind, Spec
from facecli.pipeline.runner import ThreadPool
from facecli.pipeline.stages import embed_photos
from facecli.reporting import Reporter, SilentReporter
from facecli.types import FileContents, IndexedPhoto, PhotoFile, Skipped
from facecli.vision.devices.select import find_devices
from facecli.vision.models import FaceModels
from facecli.vision.packs.resolve import find_recorded_pack
from facecli.vision.serving.pooled import Pooling, devices_apart, open_models_on

DEATHS = 2
"""The number of crashed runs after which a content is decoded in a separate process."""


class DecodeJournal(Protocol):
    """Records the contents being decoded; yields the number of runs that crashed while decoding one."""

    def in_flight(self, digest: bytes) -> AbstractContextManager[int]: ...


class NoJournal:
    """The journal of a worker whose death its driver notices."""

    def in_flight(self, digest: bytes) -> AbstractContextManager[int]:
        return nullcontext(0)


class Ties(Struct, frozen=True):
    """What ties a worker to the driver: whom it asks and tells; all of it is thread-safe."""

    knows: Callable[[bytes, bool], bool] = lambda _digest, _force: False
    """Whether the index has a content, or keeps it out; with force only the latter. A wrong answer costs time only."""
    journal: DecodeJournal = field(default_factory=NoJournal)
    report: Reporter = field(default_factory=SilentReporter)
    """Receives what is told while models are opened and photos decoded."""


class ChunkWorker:
    """Does chunks, several at once where several threads call `work`, so that none waits at the end of one."""

    def __init__(self, spec: Spec, ties: Ties | None = None) -> None:
        """Find the device and begin to open the models in the background.

        Raises DeviceError if there is no such device and PackError if there is no such pack.
        """
        self._spec, self._ties = spec, ties or Ties()
        devices = find_devices(spec.device)[:1]
        pack = find_recorded_pack(
            spec.pack.model, spec.pack.directory, spec.pack.detector_sha256, spec.pack.recogniser_sha256
        )
        opener = ThreadPoolExecutor(1)
        self._models: Future[FaceModels] = opener.submit(
            open_models_on,
            pack,
            devices,
            spec.detection,
            spec.precision,
            Pooling(self._ties.report, spec.batch_size),
        )
        opener.shutdown(wait=False)
        self._budget = PixelBudget(spec.max_memory) if spec.max_memory else default_budget()
        self._device, self._apart = devices[0].name, devices_apart(devices)
        self.jobs = spec.jobs or count_workers(self._apart, spec.batch_size, self._budget.total)
        self._computed = self._finishing = False
        self._claims = Claims()
        self._pool: ThreadPool[_Job, PhotoResult] = ThreadPool(lambda: _PhotoWorker(self), self.jobs)
        self._open: list[Future[PhotoResult]] = []
        self._lock = threading.Lock()

    def hello(self) -> Hello:
        """What this worker is; does not wait for the models."""
        return Hello(
            __version__,
            socket.gethostname(),
            os.getpid(),
            self._device,
            self.jobs,
            bool(self._apart),
            tuple(r.package for r in OPTIONAL_READERS.values() if is_installed(r)),
            tuple(root for root in self._spec.roots if not os.path.exists(root)),
            self.jobs,
        )

    def work(self, chunk: Chunk) -> Answer:
        """Do a chunk; raises DeviceError, PackError or UsageError where the models cannot be used."""
        clock, claims = StageClock(), list[Claim]()
        with self._lock:
            futures = [self._pool.submit(_Job(task, chunk, clock, claims)) for task in chunk.tasks]
            self._open += futures
        try:
            if self._finishing:
                self._withdraw(futures)
            results = tuple(_first(futures))
        finally:
            self._withdraw(futures)
            with self._lock:
                self._open = [future for future in self._open if not future.done()]
            for claim in claims:
                claim.forget()
        times = {stage: (time.busy_seconds, time.wait_seconds) for stage, time in clock.times().items()}
        return Answer(chunk.number, results, times, self.provider)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider in use; empty if no photo needed the models."""
        return self._models.result().provider if self._computed else ""

    def finish(self) -> None:
        """Begin no more photos; `work` then answers with the first results of its chunk."""
        self._finishing = True
        with self._lock:
            self._withdraw(self._open)

    def close(self) -> None:
        """Wait for the photos in progress, and release the models."""
        self.finish()
        self._pool.close()
        self._models.add_done_callback(_close_models)

    @staticmethod
    def _withdraw(futures: list[Future[PhotoResult]]) -> None:
        for future in reversed(futures):
            future.cancel()

    def use_models(self) -> FaceModels:
        """The models; waits until they are open."""
        models = self._models.result()
        self._computed = True
        return models


def _first(futures: list[Future[PhotoResult]]) -> Iterator[PhotoResult]:
    """The results before the first one that was withdrawn; raises the first error."""
    for future in futures:
        try:
            result = future.result()
        except CancelledError:
            return
        yield result


def _close_models(opened: Future[FaceModels]) -> None:
    if opened.exception() is None:
        opened.result().close()


class _Job(Struct, frozen=True):
    task: PhotoTask
    chunk: Chunk
    clock: StageClock
    claims: list[Claim]


class _PhotoWorker:
    """One thread of a worker, with a reader of its own."""

    def __init__(self, worker: ChunkWorker) -> None:
        self._worker, self._ties, self._claims = worker, worker._ties, worker._claims  # noqa: SLF001 (one class in two)
        self._reader = PhotoReader(worker._spec.reading, worker._budget)  # noqa: SLF001

    def __call__(self, job: _Job) -> PhotoResult:
        try:
            return self._take(job)
        finally:
            self._reader.release()

    def _take(self, job: _Job) -> PhotoResult:
        task = job.task
        with job.clock.busy("read"):
            contents = self._reader.read(PhotoFile(os.fsdecode(task.path), task.size, task.mtime_ns))
        if isinstance(contents, Skipped):
            return skipped(contents)
        known = not job.chunk.force and contents.digest == task.digest
        if known or self._ties.knows(contents.digest, job.chunk.force):
            kind = ResultKind.UNALTERED if known else ResultKind.RECOGNISED
            return PhotoResult(kind, task.path, contents.file.size, contents.file.mtime_ns, contents.digest)
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
        return under_name(claim.outcome(), file)

    def _find(self, contents: FileContents, job: _Job) -> Outcome:
        with self._ties.journal.in_flight(contents.digest) as deaths, job.clock.busy("decode"):
            photo = self._reader.decode(contents, isolated=job.chunk.isolated or deaths >= DEATHS)
        if self._reader.warning:
            self._ties.report.detail(f"{contents.file.path}: {self._reader.warning}")
        if isinstance(photo, Skipped):
            return photo
        return embed_photos(self._worker.use_models(), [photo], job.clock)[0]

    def close(self) -> None:
        """End the reader's helper process and free its buffers."""
        self._reader.close()


def skipped(photo: Skipped) -> PhotoResult:
    """The result for a file that cannot be read."""
    file = photo.file
    return PhotoResult(
        ResultKind.SKIPPED,
        os.fsencode(file.path),
        file.size,
        file.mtime_ns,
        reason=str(photo.reason),
        detail=photo.detail,
        refused_by=photo.refused_by,
    )


def fresh(photo: IndexedPhoto) -> PhotoResult:
    """The result for a photo whose faces were found."""
    file, found = photo.file, photo.detections
    return PhotoResult(
        ResultKind.FRESH,
        os.fsencode(file.path),
        file.size,
        file.mtime_ns,
        photo.digest,
        photo.width,
        photo.height,
        np.ascontiguousarray(found.boxes, "<f4").tobytes(),
        np.ascontiguousarray(found.scores, "<f4").tobytes(),
        np.ascontiguousarray(found.landmarks, "<f4").tobytes(),
        np.ascontiguousarray(found.found_by, "u1").tobytes(),
        np.ascontiguousarray(photo.embeddings, "<f2").tobytes(),
    )
