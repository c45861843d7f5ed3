"""The driver's side of all engines: hands out chunks, checks answers, takes them in order, repeats what was lost."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from statistics import median
from typing import Generic

from msgspec import Struct

from facecli.errors import FacecliError, WorkerError
from facecli.fleet.backlog import Backlog, OutcomeType, Parcel, Slot, TaskType
from facecli.fleet.crew import Crew, Member
from facecli.fleet.engine import Failure
from facecli.pipeline.clock import StageClock
from facecli.pipeline.messages import Answer, Hello, PhotoChunk, PhotoResult, PhotoTask
from facecli.reporting import Reporter
from facecli.wording import counted

IN_HAND = 2
"""Chunks that a worker has: one that it works on and the next."""
ENDING = 2 * IN_HAND
"""The chunks per worker that the last photos of a run are divided into, so that a slow one does not hold up the end."""
AHEAD = 4
"""The chunks per worker that are in progress or wait for an earlier one; while they wait they are faces, not pixels."""
LEAST_WINDOW = 64
POLL_SECONDS = 0.005
"""How long the scan goes on before the workers are looked at."""
WAIT_SECONDS = 0.1
"""How long the driver waits for a worker before it looks for a stop."""
OVERDUE_SECONDS = 10.0
OVERDUE_FACTOR = 4
RECENT = 50
FAULTS = 8
"""The wrong answers in a row before a worker is left out; a single photo causes fewer."""


class Translation(Struct, Generic[TaskType, OutcomeType], frozen=True):
    """How the tasks and outcomes of a run are written in messages."""

    write: Callable[[TaskType], PhotoTask]
    read: Callable[[TaskType, PhotoResult], OutcomeType]
    """Raises ValueError if the result cannot be one for the task."""
    give_up: Callable[[TaskType, str], OutcomeType]
    """The outcome of a photo that workers died on."""
    doubts: Callable[[OutcomeType], bool]
    """Whether the driver knows better, so that the worker must be at fault."""


class Withdrawn(Exception):
    """The run was stopped before a photo was done."""


class Dispatcher(Generic[TaskType, OutcomeType]):
    """Has the photos of a run done by the workers of an engine; used by one thread."""

    def __init__(
        self,
        crew: Crew,
        translation: Translation[TaskType, OutcomeType],
        reporter: Reporter,
        *,
        force: bool = False,
        chunk: int = 0,
    ) -> None:
        """`chunk` is the number of photos in a chunk; 0 for what each worker does in a second."""
        self.crew, self._translation, self._reporter, self._chunk = crew, translation, reporter, chunk
        self.clock = StageClock()
        """The time of the workers."""
        self.providers: dict[str, None] = {}
        """ONNX Runtime's names of the providers in use; empty if no photo needed the models."""
        self._backlog: Backlog[TaskType, OutcomeType] = Backlog(translation.give_up, force=force)
        self._order: deque[Slot[TaskType, OutcomeType]] = deque()
        self._open: dict[int, Parcel[TaskType, OutcomeType]] = {}
        self._took: deque[float] = deque(maxlen=RECENT)
        self._polled = 0.0

    def results(
        self, source: Iterator[TaskType | Slot[TaskType, OutcomeType] | None], stop: Callable[[], object]
    ) -> Iterator[OutcomeType | None]:
        """Yield the outcomes in the order of the source, which gives tasks, slots with an outcome, or None.

        None is yielded at once, so that the consumer regains control. When `stop` becomes true, no more photos are
        begun, and the outcomes stay a prefix of the order. Raises the error of the last worker that is left out.
        """
        while (not self._backlog.ended or self._order) and not stop():
            if self._order and (outcome := self._order[0].outcome) is not None:
                self._order.popleft()
                yield outcome
            elif self._backlog.ended or len(self._order) >= self.window:
                self._turn(WAIT_SECONDS)
            else:
                yield from self._take(source)
        if self._order:
            yield from self._finish()

    def again(self, task: TaskType) -> OutcomeType:
        """Have one photo done now, even if the index has its content; raises Withdrawn if the run is being stopped."""
        slot: Slot[TaskType, OutcomeType] = Slot(task)
        self._backlog.add_first(slot)
        while slot.outcome is None:
            if self.crew.finishing:
                raise Withdrawn
            self._turn(WAIT_SECONDS)
        return slot.outcome

    @property
    def window(self) -> int:
        """The most photos in progress or waiting for an earlier one."""
        return max(LEAST_WINDOW, AHEAD * sum(map(self._size, self.crew.members.values())))

    def _take(self, source: Iterator[TaskType | Slot[TaskType, OutcomeType] | None]) -> Iterator[None]:
        """Take the next item of the source, and look at the workers now and then."""
        item = next(source, self)
        if item is self:
            self._backlog.ended = True
        elif item is None:
            yield None
        elif isinstance(item, Slot):
            self._order.append(item)
        else:
            self._add(item)  # type: ignore[arg-type]
        if time.monotonic() - self._polled >= POLL_SECONDS:
            self._turn(0)

    def _add(self, task: TaskType) -> None:
        slot: Slot[TaskType, OutcomeType] = Slot(task)
        self._order.append(slot)
        self._backlog.add(slot)
        if self.crew.is_empty:
            self.crew.begin()

    def _finish(self) -> Iterator[OutcomeType]:
        """Let the photos in progress be finished, and yield the outcomes before the first one that is lacking."""
        self._backlog.clear()
        self.crew.finish()
        while self.crew.busy:
            self._turn(WAIT_SECONDS)
        while self._order and (outcome := self._order.popleft().outcome) is not None:
            yield outcome

    def _turn(self, seconds: float) -> None:
        """Take what the workers say, for up to `seconds`, and give them what they lack."""
        for number, said in self.crew.wait(seconds):
            if not self.crew.has(number):
                continue  # it was parted with while this was on its way
            match said:
                case Hello():
                    self.crew.welcome(number, said)
                case Answer():
                    self._take_answer(number, said)
                case Failure():
                    self._take_failure(number, said)
        self._polled = time.monotonic()
        if not self.crew.finishing:
            self._hand_out()
            self._chase()

    # handing out

    def _hand_out(self) -> None:
        for member in sorted(self.crew.members.values(), key=lambda member: len(member.hand)):
            while len(member.hand) < IN_HAND and not member.alone and (parcel := self._next_for(member)) is not None:
                self._send(member, parcel)

    def _next_for(self, member: Member) -> Parcel[TaskType, OutcomeType] | None:
        is_idle = not member.hand
        returned = self._backlog.returned(member.number if len(self.crew.members) > 1 else -1, to_idle=is_idle)
        if returned is not None:
            return returned
        size = self._backlog.share(self._size(member), member.hello.most, ENDING * len(self.crew.members))
        return self._backlog.cut(size, to_idle=is_idle)

    def _size(self, member: Member) -> int:
        return self._chunk or member.size

    def _send(self, member: Member, parcel: Parcel[TaskType, OutcomeType]) -> None:
        self._open[parcel.number] = parcel
        parcel.holders.add(member.number)
        parcel.since = time.monotonic()
        tasks = tuple(self._translation.write(slot.task) for slot in parcel.slots)
        chunk = PhotoChunk(parcel.number, tasks, parcel.force, parcel.isolated)
        self.crew.send(member, chunk, alone=parcel.deaths > 0)

    def _chase(self) -> None:
        """Give what is overdue to an idle worker too; the first answer counts."""
        idle = [member for member in self.crew.members.values() if not member.hand]
        if not idle or self._backlog or not self._took:
            return
        latest = time.monotonic() - max(OVERDUE_SECONDS, OVERDUE_FACTOR * median(self._took))
        for parcel in list(self._open.values()):
            if idle and len(parcel.holders) == 1 and not parcel.deaths and parcel.since < latest:
                self._reporter.detail(f"{counted(len(parcel.slots), 'photo')} overdue, given to {idle[-1].place} too")
                self._send(idle.pop(), parcel)

    # taking back

    def _take_answer(self, number: int, answer: Answer) -> None:
        """Take the results of a chunk, if they are sound and nobody else has given them before."""
        member = self.crew.members.get(number)
        if member is None:
            return
        if answer.number not in member.hand:
            self._take_failure(number, Failure(WorkerError("it answers what it was not asked", member.place)))
            return
        self.crew.take_back(number, answer.number)
        parcel = self._open.get(answer.number)
        if parcel is None:
            return
        try:
            outcomes = self._check(parcel, answer)
        except ValueError as error:
            self._give_back(number, parcel, f"the answer for it is wrong ({error})", died=True)
            self._reproach(member, f"its answers are wrong ({error})")
            return
        if parcel.doubter < 0 and any(map(self._translation.doubts, outcomes)):
            parcel.doubter = number
            self._give_back(number, parcel, "", died=False)
            self._reproach(member, "it does not see photos that are there")
            return
        del self._open[answer.number]
        for slot, outcome in zip(parcel.slots, outcomes, strict=False):
            slot.outcome = outcome
        self._took.append(time.monotonic() - parcel.since)
        self.crew.praise(number, len(outcomes), answer.notes)
        self._count(answer)

    def _check(self, parcel: Parcel[TaskType, OutcomeType], answer: Answer) -> list[OutcomeType]:
        """The outcomes of a chunk; raises ValueError unless it has one for each photo, or the first ones at a stop."""
        given, wanted = len(answer.results), len(parcel.slots)
        if given > wanted or (given < wanted and not self.crew.finishing):
            raise ValueError(f"{given} results for {wanted} photos")
        return [
            self._translation.read(slot.task, result)
            for slot, result in zip(parcel.slots, answer.results, strict=False)
        ]

    def _reproach(self, member: Member, why: str) -> None:
        """Count a wrong answer against its worker."""
        member.faults += 1
        if member.faults >= FAULTS:
            self._take_failure(member.number, Failure(WorkerError(why, member.place)))

    def _count(self, answer: Answer) -> None:
        for stage, (busy, waited) in answer.times.items():
            self.clock.add(stage, busy=busy, wait=waited)
        if answer.provider:
            self.providers[answer.provider] = None

    def _take_failure(self, number: int, failure: Failure) -> None:
        """Part with a worker, unless only a chunk failed; its chunks go to the others."""
        member = self.crew.members.get(number)
        is_fault_of_worker = isinstance(failure.error, FacecliError)
        if failure.gone or is_fault_of_worker:
            had = sorted(member.hand) if member is not None else []
        else:
            had = [failure.number]
            self.crew.take_back(number, failure.number)
        for chunk in had:
            if (parcel := self._open.get(chunk)) is not None:
                self._give_back(number, parcel, str(failure.error), died=not is_fault_of_worker)
        if isinstance(failure.error, FacecliError):
            self.crew.leave_out(number, failure.error)
        elif failure.gone:
            self.crew.lose(number, failure.error)

    def _give_back(self, number: int, parcel: Parcel[TaskType, OutcomeType], why: str, *, died: bool) -> None:
        """Put a chunk back, unless another worker has it too."""
        parcel.holders.discard(number)
        if not parcel.holders:
            del self._open[parcel.number]
            if not self.crew.finishing:
                self._backlog.put_back(parcel, why, died=died)
