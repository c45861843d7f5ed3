"""An engine without workers that does what a test says: it loses, delays, doubles and garbles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from notes import Notes

from facecli import __version__
from facecli.fleet.crew import Crew
from facecli.fleet.dispatcher import Dispatcher, Translation
from facecli.fleet.engine import Event, Failure
from facecli.pipeline.messages import Answer, Hello, PhotoChunk, PhotoResult, PhotoTask, ResultKind

Behaviour = Callable[[int, PhotoChunk], "list[Event] | None"]
"""What a worker says to a chunk; None for the answer of a good one, an empty list for silence."""


def hello(number: int, **changes: Any) -> Hello:
    return Hello(
        **{"version": __version__, "host": "here", "pid": number, "device": f"cpu:{number}", "jobs": 1} | changes
    )


def result(task: PhotoTask, **changes: Any) -> PhotoResult:
    fields = {"kind": ResultKind.SKIPPED, "path": task.path, "size": 1, "mtime_ns": 1, "detail": "done"}
    return PhotoResult(**fields | changes)


def answer(chunk: PhotoChunk, **changes: Any) -> Answer:
    results = tuple(result(task, detail="again" if chunk.force else "done") for task in chunk.tasks)
    return Answer(
        **{"number": chunk.number, "results": results, "times": {"read": (1.0, 0.0)}, "provider": "P"} | changes
    )


class FakeEngine:
    """Workers that answer at the next `wait`, unless a behaviour says otherwise."""

    name = "fake"

    def __init__(self, most: int = 2, behave: Behaviour = lambda _worker, _chunk: None) -> None:
        self.most, self.behave = most, behave
        self.greet: Callable[[int], Hello | Failure] = hello
        self.begun, self.dropped, self.log = 0, set[int](), list[tuple[int, PhotoChunk]]()
        self.events: list[Event] = []
        self.told_to_finish = self.is_closed = False

    def begin(self) -> int:
        self.begun += 1
        self.events.append((self.begun, self.greet(self.begun)))
        return self.begun

    def send(self, worker: int, chunk: PhotoChunk) -> None:
        assert worker not in self.dropped
        self.log.append((worker, chunk))
        said = self.behave(worker, chunk)
        self.events += [(worker, answer(chunk))] if said is None else said

    def finish(self) -> None:
        self.told_to_finish = True

    def drop(self, worker: int) -> None:
        self.dropped.add(worker)

    def wait(self, seconds: float) -> list[Event]:
        events, self.events = self.events, []
        return events

    def close(self) -> None:
        self.is_closed = True

    @property
    def photos(self) -> Counter[int]:
        """How many photos each worker was given."""
        counts: Counter[int] = Counter()
        for worker, chunk in self.log:
            counts[worker] += len(chunk.tasks)
        return counts


def gone(worker: int) -> list[Event]:
    return [(worker, Failure(RuntimeError("killed")))]


def names(chunk: PhotoChunk) -> list[int]:
    return [int(task.path) for task in chunk.tasks]


def read(task: int, said: PhotoResult) -> str:
    if said.path != b"%d" % task:
        raise ValueError("another photo")
    return f"{task} {said.detail}"


def drive(engine: FakeEngine, notes: Notes | None = None, chunk: int = 4) -> Dispatcher[int, str]:
    """A dispatcher whose tasks are numbers, and whose outcomes are these numbers with what was found out."""
    notes = notes or Notes()
    translation = Translation[int, str](
        lambda task: PhotoTask(b"%d" % task, 1, 1),
        read,
        lambda task, why: f"{task} given up: {why}",
        lambda outcome: outcome.endswith("vanished"),
    )
    return Dispatcher(Crew(lambda: engine, notes), translation, notes, chunk=chunk)


def run(engine: FakeEngine, photos: int = 24, notes: Notes | None = None, chunk: int = 4) -> list[str | None]:
    source: Iterator[int] = iter(range(photos))
    return list(drive(engine, notes, chunk).results(source, lambda: False))


def done(photos: int) -> list[str]:
    return [f"{number} done" for number in range(photos)]
