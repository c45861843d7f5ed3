"""The engine in this process: each worker with its threads, no message in bytes."""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Sequence

from facecli.errors import FacecliError
from facecli.fleet.engine import AT_ONCE, Event, Failure
from facecli.pipeline.chunk_worker import ChunkWorker
from facecli.pipeline.messages import PhotoChunk, Spec
from facecli.pipeline.ties import Ties


class ThreadEngine:
    """Workers in the process of the driver, one for each spec; a lost one is not begun again."""

    name = "threads"

    def __init__(self, specs: Sequence[Spec], ties: Ties) -> None:
        self._specs, self._ties, self.most = list(specs), ties, len(specs)
        self._events: queue.SimpleQueue[Event | BaseException] = queue.SimpleQueue()
        self._chunks: dict[int, queue.SimpleQueue[PhotoChunk | None]] = {}
        self._workers: dict[int, ChunkWorker] = {}
        self._threads: list[threading.Thread] = []
        self._numbers = itertools.count()
        self._finishing = False

    def begin(self) -> int:
        number = next(self._numbers)
        self._chunks[number] = queue.SimpleQueue()
        self._start(self._open, number, self._specs[number % len(self._specs)])
        return number

    def send(self, worker: int, chunk: PhotoChunk) -> None:
        self._chunks[worker].put(chunk)

    def finish(self) -> None:
        self._finishing = True
        for worker in list(self._workers.values()):
            worker.finish()

    def drop(self, worker: int) -> None:
        for _ in range(AT_ONCE):
            self._chunks[worker].put(None)

    def wait(self, seconds: float) -> list[Event]:
        """See Engine; raises an error of a worker that is none of facecli's own."""
        events: list[Event] = []
        try:
            while True:
                event = self._events.get(timeout=seconds) if seconds and not events else self._events.get_nowait()
                if isinstance(event, BaseException):
                    raise event
                events.append(event)
        except queue.Empty:
            return events

    def close(self) -> None:
        """End the threads; photos in progress are finished."""
        self.finish()
        for number in self._chunks:
            self.drop(number)
        for thread in self._threads:
            thread.join()
        for worker in self._workers.values():
            worker.close()

    def _start(self, action: object, *arguments: object) -> None:
        thread = threading.Thread(target=action, args=arguments, name="chunks", daemon=True)  # type: ignore[arg-type]
        thread.start()
        self._threads.append(thread)  # one that could not be started cannot be waited for

    def _open(self, number: int, spec: Spec) -> None:
        """Open a worker, and be its first thread."""
        try:
            worker = self._workers[number] = ChunkWorker(spec, self._ties)
            hello = worker.hello()
            if self._finishing:
                worker.finish()
            for _ in range(AT_ONCE - 1):
                self._start(self._work, number, worker)
        except FacecliError as error:
            self._events.put((number, Failure(error)))
            return
        except BaseException as error:  # noqa: BLE001 (raised again by `wait`)
            self._events.put(error)
            return
        self._events.put((number, hello))
        self._work(number, worker)

    def _work(self, number: int, worker: ChunkWorker) -> None:
        while (chunk := self._chunks[number].get()) is not None:
            try:
                self._events.put((number, worker.work(chunk)))
            except FacecliError as error:
                self._events.put((number, Failure(error, chunk.number)))
            except BaseException as error:  # noqa: BLE001 (raised again by `wait`)
                self._events.put(error)
