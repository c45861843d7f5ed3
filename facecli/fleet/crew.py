"""The workers of a run: which are ready, which are left out and why, and how large a chunk each takes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from facecli import __version__
from facecli.errors import FacecliError, WorkerError
from facecli.fleet.engine import Engine, Event
from facecli.pipeline.messages import Hello, Note, PhotoChunk
from facecli.reporting import Reporter

TARGET_SECONDS = 1.0
"""How long a worker takes for a chunk: so long that messages cost little, so short that little is lost with it."""
LARGEST = 256
"""The most photos in a chunk whose size is measured."""
FRUITLESS = 16
"""The workers that may be lost in a row while none answers: more than a single photo can kill."""
SHOWN = "`facecli doctor --fleet` shows all of them"
DESERTED_SECONDS = 60.0
"""How long a run whose workers are all lost waits for another; a machine that has just been lost is seen as long."""


class Member(Struct, eq=False):
    """A worker that is ready."""

    number: int
    hello: Hello
    hand: set[int] = field(default_factory=set)
    """The numbers of the chunks that it has."""
    alone: bool = False
    """Whether it has a chunk that it must not share its time with."""
    speed: float = 0.0
    """Photos per second; 0 if not measured yet."""
    since: float = 0.0
    """When it began what it works on now."""
    faults: int = 0
    """Answers that contradict what the driver sees."""

    @property
    def place(self) -> str:
        """The worker in a message."""
        return f"{self.hello.device} on {self.hello.host}"

    @property
    def size(self) -> int:
        """The photos of its next chunk: at least what it works on at once, else a second's work."""
        return max(self.hello.most, min(LARGEST, round(self.speed * TARGET_SECONDS)), 1)

    def note(self, photos: int) -> None:
        """Measure its speed by an answer."""
        now = time.monotonic()
        speed, self.since = photos / max(now - self.since, 1e-4), now
        self.speed = (self.speed + speed) / 2 if self.speed else speed


class Crew:
    """The workers of an engine; the dead are replaced, those that cannot work are left out with a line."""

    def __init__(self, open_engine: Callable[[], Engine], reporter: Reporter) -> None:
        """`open_engine` is called when there is work."""
        self._open_engine, self._reporter = open_engine, reporter
        self._opened: Engine | None = None
        self.members: dict[int, Member] = {}
        self._seen: dict[tuple[str, str], Hello] = {}
        """A worker of each device, by host and name."""
        self.workers = self.jobs = 0
        """The most workers, and the most threads of all, at one time."""
        self._coming: set[int] = set()
        self._fruitless = self._stillborn = 0
        """The workers lost in a row without an answer between, and those that ended before they were ready."""
        self._deserted = 0.0
        """Since when there has been no worker any more; 0 while there is one."""
        self._last_trouble = ""
        self._warned = set[str]()
        self.finishing = False

    @property
    def is_empty(self) -> bool:
        """Whether there is no worker, and none is to come."""
        return not self.members and not self._coming

    def has(self, number: int) -> bool:
        """Whether a worker belongs to the run."""
        return number in self.members or number in self._coming

    def begin(self) -> None:
        """Start all workers."""
        self._opened = self._open_engine()
        self._coming = {self._opened.begin() for _ in range(self._opened.most)}

    @property
    def _engine(self) -> Engine:
        assert self._opened is not None
        return self._opened

    def wait(self, seconds: float) -> list[Event]:
        """What has happened; waits up to `seconds` for something.

        Raises WorkerError if all workers are lost and none takes their place: those asked for may never come, since
        their machines are gone.
        """
        events = [] if self._opened is None else self._opened.wait(seconds)
        has_hope = self.members or not self.workers or any(isinstance(said, Hello) for _, said in events)
        if has_hope or self.finishing:
            self._deserted = 0.0
        elif not self._deserted:
            self._deserted = time.monotonic()
        elif time.monotonic() - self._deserted > DESERTED_SECONDS:
            raise WorkerError(
                "all workers are lost, and none has come for a minute",
                self._last_trouble,
                hint="what is done is kept; the same command goes on",
            )
        return events

    def close(self) -> None:
        """End all workers."""
        if self._opened is not None:
            self._opened.close()

    def welcome(self, number: int, hello: Hello) -> None:
        """Take a worker that is ready, unless it is of another version or does not see the photos."""
        self._coming.discard(number)
        unseen = [os.fsdecode(root) for root in hello.unseen if os.path.exists(root)]
        if hello.version != __version__:
            self._refuse(number, f"has facecli {hello.version} and not {__version__}", hello.host)
        elif unseen:
            self._refuse(number, f"does not see {unseen[0]}", hello.host)
        else:
            self._stillborn = 0
            self.members[number] = Member(number, hello)
            self._seen[hello.host, hello.device] = hello
            self.workers = max(self.workers, len(self.members))
            self.jobs = max(self.jobs, sum(member.hello.jobs for member in self.members.values()))

    def _refuse(self, number: int, why: str, host: str) -> None:
        self.leave_out(number, WorkerError(f"a worker {why}", host, hint=SHOWN))

    def leave_out(self, number: int, error: FacecliError) -> None:
        """Do without a worker from now on; raises its error if it was the last one."""
        member = self.members.pop(number, None)
        self._coming.discard(number)
        self._engine.drop(number)
        self._last_trouble = str(error)
        if self.is_empty:
            raise error
        what = f"{member.place} failed and is left out; the others do its photos: " if member else "left out: "
        self._reporter.warn(what + str(error))

    def lose(self, number: int, error: Exception) -> None:
        """Replace a worker that has died, unless they die without end; raises WorkerError if none is left then."""
        if number in self._coming:
            self._stillborn += 1
            if self._stillborn > FRUITLESS and not self.finishing:
                why = f"{self._stillborn} workers in a row ended before they were ready"
                self.leave_out(number, WorkerError(why, str(error)))
                return
        member = self.members.pop(number, None)
        self._coming.discard(number)
        self._engine.drop(number)
        self._fruitless += 1
        self._last_trouble = str(error)
        if self.finishing:
            return
        if self._fruitless > FRUITLESS:
            raise WorkerError(f"{self._fruitless} workers were lost in a row", str(error))
        where = member.place if member else "a worker that started"
        self._reporter.warn(f"{where} was lost, and another takes its place: {error}")
        self._coming.add(self._engine.begin())

    def send(self, member: Member, chunk: PhotoChunk, *, alone: bool) -> None:
        """Hand a chunk to a worker."""
        if not member.hand:
            member.since = time.monotonic()
        member.hand.add(chunk.number)
        member.alone = alone
        self._engine.send(member.number, chunk)

    def take_back(self, number: int, chunk: int) -> Member | None:
        """Note that a worker has no longer a chunk."""
        member = self.members.get(number)
        if member is not None:
            member.hand.discard(chunk)
            member.alone = False
        return member

    def praise(self, number: int, photos: int, notes: Sequence[Note]) -> None:
        """Note that a worker has answered."""
        self._fruitless = 0
        if (member := self.members.get(number)) is not None:
            member.note(photos)
            member.faults = 0
        for note in notes:
            if note.warns and note.text not in self._warned:  # each worker warns of a cache that cannot be written
                self._warned.add(note.text)
                self._reporter.warn(note.text)
            elif not note.warns:
                self._reporter.detail(note.text)

    def finish(self) -> None:
        """Tell all workers to begin no more photos."""
        self.finishing = True
        if self._opened is not None:
            self._opened.finish()

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return any(member.hand for member in self.members.values())

    # for the report

    @property
    def engine_name(self) -> str:
        """What the engine is: threads, processes or ray; empty if none was needed."""
        return "" if self._opened is None else self._opened.name

    @property
    def device(self) -> str:
        """The names of all devices together, such as cuda:0,1."""
        numbers: dict[str, list[str]] = {}
        for _, name in sorted(self._seen):
            kind, colon, number = name.partition(":")
            numbers.setdefault(kind, []).extend([number] if colon and number not in numbers.get(kind, ()) else [])
        return " + ".join(f"{kind}:{','.join(found)}" if found else kind for kind, found in numbers.items())

    @property
    def devices(self) -> int:
        """The devices that are none of the processors that read and decode."""
        return sum(hello.apart for hello in self._seen.values())

    @property
    def machines(self) -> int:
        """The machines of the workers."""
        return len({host for host, _ in self._seen})
