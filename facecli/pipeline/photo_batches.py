"""Batches of photos: the work of a worker whose device computes many photos at once."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from facecli.photos.budget import PixelBudget
from facecli.photos.decode import PhotoReader
from facecli.photos.frames import BatchSpace
from facecli.pipeline.batch_filler import BatchFiller
from facecli.pipeline.clock import StageClock
from facecli.pipeline.device_batch import ChunkProgress, DeviceBatch
from facecli.pipeline.messages import PhotoChunk, PhotoResult, Spec
from facecli.pipeline.results import fresh
from facecli.pipeline.stages import align_crops, in_numbers, split_by_photo, with_faces
from facecli.pipeline.ties import Ties
from facecli.vision.detection.inputs import Inputs
from facecli.vision.models import IN_FLIGHT, FaceModels


class PhotoBatches:
    """Threads that decode photos into the inputs of a batch, while the device computes another one.

    Whoever calls `work` goes with its chunk through all stages, batch by batch; two may do so at once, and then the
    next batch is ready when the device is free.
    """

    def __init__(
        self, spec: Spec, ties: Ties, models: Callable[[], FaceModels], budget: PixelBudget, jobs: int
    ) -> None:
        self.most = spec.batch_size
        self._models, self._finishing = models, False
        self._fillers = [
            BatchFiller(PhotoReader(spec.reading, budget), ties, lambda: self._finishing) for _ in range(jobs)
        ]
        self._helpers = ThreadPoolExecutor(jobs, "worker")
        self._filling, self._counting = threading.Lock(), threading.Lock()
        self._told = {"detect": 0.0, "embed": 0.0}
        self._batches: queue.SimpleQueue[DeviceBatch] = queue.SimpleQueue()
        for _ in range(IN_FLIGHT):
            self._batches.put(DeviceBatch(self._make_inputs, BatchSpace(budget.pixels.total // IN_FLIGHT)))

    def work(self, chunk: PhotoChunk, clock: StageClock) -> tuple[PhotoResult, ...]:
        """The results of a chunk; after `finish` only the first ones. Raises DeviceError."""
        progress = ChunkProgress(chunk)
        with self._one_batch() as batch:
            while progress.waiting and not self._finishing:
                batch.clear()
                self._fill(batch, progress, clock)
                if batch.photos:
                    self._compute(batch, progress, clock)
                    self._count_device_time(clock)
        return progress.first_results()

    def finish(self) -> None:
        """Begin no more photos."""
        self._finishing = True

    def close(self) -> None:
        """Wait for the photos in progress."""
        self._helpers.shutdown()
        for filler in self._fillers:
            filler.close()

    @contextmanager
    def _one_batch(self) -> Iterator[DeviceBatch]:
        """One of the batches that may be in progress at once; waits for it."""
        batch = self._batches.get()
        try:
            yield batch
        finally:
            self._batches.put(batch)

    def _make_inputs(self) -> Inputs:
        return self._models().detector.make_inputs(self.most)

    def _fill(self, batch: DeviceBatch, progress: ChunkProgress, clock: StageClock) -> None:
        """Read and decode photos in all threads, until the batch is full or no task is left."""
        with self._filling:
            threads = min(len(self._fillers), len(progress.waiting))
            helpers = [self._helpers.submit(f.fill, batch, progress, clock) for f in self._fillers[1:threads]]
            self._fillers[0].fill(batch, progress, clock)
            for helper in helpers:
                helper.result()

    def _compute(self, batch: DeviceBatch, progress: ChunkProgress, clock: StageClock) -> None:
        """Find and embed the faces of a filled batch."""
        models, photos = self._models(), [photo.pixels for _, photo in batch.photos]
        with clock.waiting("detect"):
            detections = in_numbers(models.detector.detect_filled(photos, batch.inputs))
        with clock.busy("align"):
            crops = align_crops(photos, detections)
        with clock.waiting("embed"):
            embeddings = split_by_photo(models.embedder.embed(crops), detections)
        for (number, photo), found, vectors in zip(batch.photos, detections, embeddings, strict=True):
            progress.results[number] = fresh(with_faces(photo, found, vectors))

    def _count_device_time(self, clock: StageClock) -> None:
        """Count the time that the device has worked since the last chunk; overlapping batches count once."""
        with self._counting:
            for stage, seconds in self._models().device_seconds().items():
                clock.add(stage, busy=seconds - self._told[stage])
                self._told[stage] = seconds
