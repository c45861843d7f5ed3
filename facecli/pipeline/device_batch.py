"""One batch of a device: its photos, its inputs, and their memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from facecli.photos.budget import NoRoom
from facecli.photos.frames import BatchSpace
from facecli.pipeline.messages import PhotoChunk, PhotoResult
from facecli.pipeline.results import as_copy
from facecli.types import Photo, PhotoFile
from facecli.vision.detection.inputs import Inputs


class ChunkProgress:
    """What is known of a chunk so far, and what is still to be read; thread-safe."""

    def __init__(self, chunk: PhotoChunk) -> None:
        self.chunk = chunk
        self.results: list[PhotoResult | None] = [None] * len(chunk.tasks)
        self.waiting = deque(range(len(chunk.tasks)))
        """The numbers of the tasks that are not begun."""
        self._firsts: dict[bytes, int] = {}
        self._copies: list[tuple[int, PhotoFile, int]] = []
        self._lock = threading.Lock()

    def is_copy(self, number: int, digest: bytes, file: PhotoFile) -> bool:
        """Whether an earlier task of the chunk has the same content; then it gets the same result."""
        with self._lock:
            first = self._firsts.setdefault(digest, number)
            if first != number:
                self._copies.append((number, file, first))
        return first != number

    def first_results(self) -> tuple[PhotoResult, ...]:
        """The results in the order of the tasks, up to the first task without one."""
        for number, file, first in self._copies:
            result = self.results[first]
            self.results[number] = result and as_copy(result, file)
        done: list[PhotoResult] = []
        for result in self.results:
            if result is None:
                break
            done.append(result)
        return tuple(done)


class DeviceBatch:
    """The photos of a device's batch, in rows of its inputs; filled by several threads, then computed by one."""

    def __init__(self, make_inputs: Callable[[], Inputs], space: BatchSpace) -> None:
        """`make_inputs` is called once, at the first decoded photo, and may wait for the models."""
        self.space = space
        self.photos: list[tuple[int, Photo]] = []
        """By row of the inputs: the number of the task, and the photo."""
        self._make_inputs = make_inputs
        self._inputs: Inputs | None = None
        self._begun, self._full = 0, False
        self._lock, self._making = threading.Lock(), threading.Lock()

    @property
    def inputs(self) -> Inputs:
        """The inputs of the detector; there are some after `wait_for_models`."""
        assert self._inputs is not None
        return self._inputs

    def wait_for_models(self) -> None:
        """Wait until there are inputs to fill."""
        with self._making:
            if self._inputs is None:
                self._inputs = self._make_inputs()

    def clear(self) -> None:
        """Begin the next batch; the pixels of the last one are no longer valid."""
        self.photos, self._begun, self._full = [], 0, False
        self.space.clear()

    def begin(self, progress: ChunkProgress) -> int | None:
        """The number of the next task to read; None if there is none, or no row left for it."""
        with self._lock:
            no_row = self._inputs is not None and self._begun >= self._inputs.rows
            if self._full or no_row or not progress.waiting:
                return None
            self._begun += 1
            return progress.waiting.popleft()

    def drop(self) -> None:
        """The task that was begun needs no row."""
        with self._lock:
            self._begun -= 1

    def put_back(self, number: int, progress: ChunkProgress) -> None:
        """The batch has no memory for the photo of a task, which begins the next batch."""
        with self._lock:
            self._full = True
            progress.waiting.appendleft(number)

    def add(self, number: int, photo: Photo) -> None:
        """Fill the next row with a decoded photo, after `wait_for_models`; raises NoRoom if there is no row left."""
        inputs = self.inputs
        with self._lock:
            row = len(self.photos)
            if row == inputs.rows:
                raise NoRoom
            self.photos.append((number, photo))
        inputs.fill_all(row, photo.pixels)
