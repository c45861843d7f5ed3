"""Read and decode photos into the inputs of a batch."""

from __future__ import annotations

from collections.abc import Callable

from facecli.photos.budget import NoRoom
from facecli.photos.decode import PhotoReader
from facecli.photos.frames import PartOfBatch
from facecli.pipeline.clock import StageClock
from facecli.pipeline.device_batch import ChunkProgress, DeviceBatch
from facecli.pipeline.messages import PhotoResult
from facecli.pipeline.reading import decode_contents, read_task
from facecli.pipeline.results import skipped
from facecli.pipeline.ties import Ties
from facecli.types import Photo, Skipped


class BatchFiller:
    """One thread's share in filling batches, with a reader of its own."""

    def __init__(self, reader: PhotoReader, ties: Ties, finishing: Callable[[], bool]) -> None:
        self._reader, self._ties, self._finishing = reader, ties, finishing

    def fill(self, batch: DeviceBatch, progress: ChunkProgress, clock: StageClock) -> None:
        """Take tasks of the chunk until the batch is full, or no task is left."""
        self._reader.space = PartOfBatch(batch.space)
        while not self._finishing() and (number := batch.begin(progress)) is not None:
            try:
                outcome = self._read(number, progress, clock)
                if isinstance(outcome, Photo):
                    batch.wait_for_models()
                    with clock.busy("decode"):
                        batch.add(number, outcome)
                else:
                    batch.drop()
                    progress.results[number] = outcome
            except NoRoom:
                batch.put_back(number, progress)
            finally:
                self._reader.release_file()

    def close(self) -> None:
        """End the reader's helper process."""
        self._reader.close()

    def _read(self, number: int, progress: ChunkProgress, clock: StageClock) -> PhotoResult | Photo | None:
        """A file's photo, or its result without one; None for a copy of another file of the chunk."""
        chunk = progress.chunk
        with clock.busy("read"):
            contents = read_task(self._reader, chunk.tasks[number], chunk, self._ties)
        if isinstance(contents, PhotoResult):
            return contents
        if progress.is_copy(number, contents.digest, contents.file):
            return None
        with clock.busy("decode"):
            photo = decode_contents(self._reader, contents, chunk, self._ties)
        return skipped(photo) if isinstance(photo, Skipped) else photo
