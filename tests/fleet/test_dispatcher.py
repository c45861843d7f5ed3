"""The driver's side of all engines, with an engine that loses, delays, doubles and garbles."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import pytest
from engines import FakeEngine, answer, done, drive, gone, hello, names, result, run
from notes import Notes

from facecli.errors import DeviceError, WorkerError
from facecli.fleet import crew
from facecli.fleet import dispatcher as module
from facecli.fleet.backlog import Slot
from facecli.fleet.crew import FRUITLESS
from facecli.fleet.dispatcher import FAULTS, LEAST_WINDOW, Withdrawn
from facecli.fleet.engine import Event, Failure
from facecli.pipeline.messages import Note, PhotoChunk


def test_the_results_come_in_order_whoever_answers_first() -> None:
    held: list[Event] = []

    def behave(worker: int, chunk: PhotoChunk) -> list[Event]:
        """Answers the first chunks last."""
        held.append((worker, answer(chunk)))
        if len(held) < 4 and chunk.number < 5:
            return []
        said, held[:] = held[::-1], []
        return said

    engine = FakeEngine(2, behave)
    assert run(engine) == done(24)
    assert sorted(itertools.chain(*(names(chunk) for _, chunk in engine.log))) == [*range(24)]


def test_no_more_than_two_chunks_are_in_hand_and_few_photos_in_progress() -> None:
    engine = FakeEngine(2, lambda _worker, _chunk: [])
    driver, taken, looks = drive(engine), itertools.count(), itertools.count()

    def finish() -> None:
        engine.events += [(worker, answer(chunk, results=())) for worker, chunk in engine.log]

    engine.finish = finish  # type: ignore[method-assign]
    assert list(driver.results(taken, lambda: next(looks) > 5000)) == []
    assert engine.photos == {1: 8, 2: 8}
    assert next(taken) == driver.window == LEAST_WINDOW


def test_a_worker_that_dies_costs_its_chunks_alone() -> None:
    notes, dead = Notes(), list[int]()

    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        if 9 in names(chunk) and not dead:
            dead.append(chunk.number)
            return gone(worker)
        return None

    engine = FakeEngine(2, behave)
    assert run(engine, notes=notes) == done(24)
    assert engine.begun == 3, "another takes its place"
    assert len(notes.warnings) == 1
    assert "on here was lost, and another takes its place: killed" in notes.warnings[0]
    again = [chunk for _, chunk in engine.log if chunk.number == dead[0]]
    assert [chunk.isolated for chunk in again] == [False, False]


def test_what_killed_a_worker_shares_the_next_one_with_nobody() -> None:
    """Else innocents were blamed for what one photo does."""
    in_hand: dict[int, set[int]] = {}
    together: list[set[int]] = []
    engine = FakeEngine(2)

    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        in_hand.setdefault(worker, set()).add(chunk.number)
        if 5 in names(chunk):
            together.append(set(in_hand[worker]))
            in_hand[worker].clear()
            return gone(worker)
        in_hand[worker].discard(chunk.number)
        return None

    engine.behave = behave
    results = run(engine)
    assert all(len(chunks) == 1 for chunks in together[1:])
    assert [line for line in results if "given up" in str(line)] == ["5 given up: killed"]
    assert [line for line in results if "given up" not in str(line)] == [line for line in done(24) if line[:2] != "5 "]


def test_a_photo_on_which_workers_die_is_decoded_apart_before_it_is_given_up() -> None:
    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        return gone(worker) if 5 in names(chunk) and not chunk.isolated else None

    engine = FakeEngine(2, behave)
    assert run(engine) == done(24)
    assert {len(chunk.tasks) for _, chunk in engine.log if chunk.isolated} <= {1, 2}, "halves of the chunk"
    assert any(5 in names(chunk) for _, chunk in engine.log if chunk.isolated)


def test_workers_that_die_without_end_end_the_run() -> None:
    engine = FakeEngine(2, lambda worker, _chunk: gone(worker))
    with pytest.raises(WorkerError, match=f"{FRUITLESS + 1} workers were lost in a row: killed"):
        run(engine)


def test_workers_that_never_become_ready_are_left_out_while_others_work() -> None:
    """A machine may lack what they need, and each new one may get there again."""
    notes, engine = Notes(), FakeEngine(2)
    engine.greet = lambda number: hello(number) if number == 1 else Failure(RuntimeError("killed"))
    assert run(engine, 4000, notes) == done(4000)
    assert engine.begun == 2 + FRUITLESS
    assert notes.warnings[-1] == f"left out: {FRUITLESS + 1} workers in a row ended before they were ready: killed"


def test_a_run_whose_lost_workers_nobody_replaces_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor that no machine has room for says nothing at all, not even that it failed."""
    monkeypatch.setattr(crew, "DESERTED_SECONDS", 0.05)

    class Emptied(FakeEngine):
        def begin(self) -> int:
            number = super().begin()
            if number > 2:
                self.events.pop()
            return number

    engine = Emptied(2, lambda worker, chunk: None if chunk.number < 3 else gone(worker))
    kept: list[str | None] = []
    with pytest.raises(WorkerError, match="all workers are lost, and none has come for a minute: killed"):
        kept.extend(outcome for outcome in drive(engine).results(iter(range(24)), lambda: False))
    assert kept == done(len(kept))
    assert kept
    assert engine.begun == 4


@pytest.mark.parametrize("kind", ["too few", "too many", "another photo", "reversed"])
def test_a_wrong_answer_is_refused_and_the_chunk_done_again(kind: str) -> None:
    wrong: list[int] = []

    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        if wrong or 9 not in names(chunk):
            return None
        wrong.append(worker)
        sound = answer(chunk).results
        garbled = {
            "too few": sound[:-1],
            "too many": (*sound, sound[0]),
            "another photo": (result(chunk.tasks[0], path=b"77"), *sound[1:]),
            "reversed": sound[::-1],
        }
        return [(worker, answer(chunk, results=garbled[kind]))]

    assert run(FakeEngine(2, behave)) == done(24)
    assert wrong


def test_an_answer_to_a_chunk_that_a_worker_does_not_have_costs_the_worker() -> None:
    notes = Notes()

    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        return [(worker, answer(chunk, number=chunk.number + 1000))] if worker == 2 else None

    engine = FakeEngine(2, behave)
    assert run(engine, notes=notes) == done(24)
    assert (engine.begun, engine.dropped) == (2, {2})
    assert "it answers what it was not asked" in notes.warnings[0]


def test_a_worker_that_only_garbles_is_left_out_and_no_photo_is_given_up_for_it() -> None:
    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        return [(worker, answer(chunk, results=()))] if worker == 2 else None

    engine = FakeEngine(2, behave)
    assert run(engine, 200) == done(200)
    with pytest.raises(WorkerError, match="its answers are wrong"):
        run(FakeEngine(1, lambda worker, chunk: [(worker, answer(chunk, results=()))]), 200)
    assert sum(worker == 2 for worker, _ in engine.log) <= FAULTS


def test_what_is_overdue_is_given_to_an_idle_worker_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OVERDUE_SECONDS", 0.05)
    engine, late = FakeEngine(2), list[Event]()

    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        if worker == 1:
            late.append((worker, answer(chunk)))
            return []
        if late and chunk.number == late[-1][1].number:  # type: ignore[union-attr]
            return [(worker, answer(chunk)), *late]
        return None

    engine.behave = behave
    notes = Notes()
    assert run(engine, notes=notes) == done(24)
    assert {chunk.number for worker, chunk in engine.log if worker == 1} <= {
        chunk.number for worker, chunk in engine.log if worker == 2
    }
    assert any("overdue, given to cpu:2 on here too" in line for line in notes.details)
    assert engine.begun == 2


def test_an_overdue_chunk_whose_first_worker_dies_is_not_blamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OVERDUE_SECONDS", 0.0)
    engine = FakeEngine(2)

    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        if worker == 1:
            return []
        held = [other.number for holder, other in engine.log if holder == 1]
        return [*gone(1), (worker, answer(chunk))] if chunk.number in held and 1 not in engine.dropped else None

    engine.behave = behave
    assert run(engine) == done(24)
    assert not any(chunk.isolated for _, chunk in engine.log)


def test_the_last_photos_are_handed_out_without_waiting_for_a_full_chunk() -> None:
    """Without that, the order would wait for ever for a photo that nobody has."""
    engine = FakeEngine(1)
    assert run(engine, 3, chunk=64) == done(3)
    seen = []
    for item in drive(engine := FakeEngine(1), chunk=64).results(slowly(), lambda: False):
        seen.append(item)
        if item == "0 done":
            assert len(engine.log) == 1
    assert [item for item in seen if item] == done(2)


def slowly() -> Iterator[int | None]:
    """One photo, unchanged files for a while, another photo."""
    yield 0
    for _ in range(20):
        time.sleep(0.01)
        yield None
    yield 1


def test_unchanged_files_give_the_consumer_control_and_start_no_worker() -> None:
    engine = FakeEngine()
    source = iter([None, Slot(1, "1 known"), None])
    assert list(drive(engine).results(source, lambda: False)) == [None, "1 known", None]
    assert engine.begun == 0


def test_workers_of_another_version_or_without_the_photos_are_left_out_with_a_line(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    engine, notes = FakeEngine(4), Notes()
    there = bytes(tmp_path_factory.getbasetemp())
    greetings = {
        1: hello(1, version="0.0.1"),
        2: hello(2, unseen=(there,)),
        3: hello(3),
        4: hello(4, unseen=(b"/nowhere",)),
    }
    engine.greet = greetings.__getitem__
    assert run(engine, notes=notes) == done(24)
    assert ({worker for worker, _ in engine.log}, engine.dropped) == ({3, 4}, {1, 2})
    assert ["left out: a worker has facecli 0.0.1" in notes.warnings[0], "does not see" in notes.warnings[1]] == [
        True,
        True,
    ]
    engine = FakeEngine(2)
    engine.greet = lambda number: hello(number, version="0.0.1")
    with pytest.raises(WorkerError, match=r"a worker has facecli 0\.0\.1 and not"):
        run(engine)


def test_a_device_that_fails_costs_a_line_and_the_last_one_the_run() -> None:
    notes = Notes()
    lost = DeviceError("fell off the bus", "cpu:1")

    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        return [(worker, Failure(lost, chunk.number, gone=False))] if worker == 1 else None

    engine = FakeEngine(2, behave)
    assert run(engine, notes=notes) == done(24)
    assert notes.warnings == ["cpu:1 on here failed and is left out; the others do its photos: fell off the bus: cpu:1"]
    assert engine.begun == 2, "a device that fails is not begun again"
    driver = drive(FakeEngine(1, lambda worker, chunk: behave(worker, chunk) if chunk.number == 3 else None))
    results = driver.results(iter(range(24)), lambda: False)
    got: list[str | None] = []
    with pytest.raises(DeviceError, match="fell off the bus"):
        got.extend(iter(results.__next__, None))
    assert got == done(8), "what was done before is kept"


def test_a_photo_that_only_a_worker_cannot_find_is_the_fault_of_the_worker() -> None:
    def behave(worker: int, chunk: PhotoChunk) -> list[Event] | None:
        blind = tuple(result(task, detail="vanished") for task in chunk.tasks)
        return [(worker, answer(chunk, results=blind))] if worker == 1 else None

    notes = Notes()
    engine = FakeEngine(2, behave)
    assert run(engine, 200, notes) == done(200)
    assert sum(worker == 1 for worker, _ in engine.log) == FAULTS
    assert "it does not see photos that are there" in notes.warnings[0]
    alone = run(FakeEngine(1, behave), 4)
    assert alone == [f"{number} vanished" for number in range(4)], (
        "without another worker it is believed the second time"
    )


def test_slow_workers_get_less() -> None:
    engine = FakeEngine(2)
    now = 0
    free = {1: 0, 2: 0}
    waiting: list[tuple[int, Event]] = []

    def behave(worker: int, chunk: PhotoChunk) -> list[Event]:
        """The first worker takes 1 ms for a photo, the second 10 ms, of a clock that goes on while the driver waits."""
        free[worker] = max(free[worker], now) + len(chunk.tasks) * (1 if worker == 1 else 10)
        waiting.append((free[worker], (worker, answer(chunk))))
        return []

    def wait(_seconds: float) -> list[Event]:
        nonlocal now
        began, engine.events[:] = engine.events[:], []
        now += 1
        ready = [event for due, event in waiting if due <= now]
        waiting[:] = [(due, event) for due, event in waiting if event not in ready]
        return [*began, *ready]

    engine.behave, engine.wait = behave, wait  # type: ignore[method-assign]
    assert run(engine, 300) == done(300)
    assert engine.photos[1] > 3 * engine.photos[2] > 0


def test_a_stop_finishes_what_is_in_hand_and_keeps_a_prefix() -> None:
    engine, stopped = FakeEngine(2), list[int]()

    def behave(worker: int, chunk: PhotoChunk) -> list[Event]:
        return (
            [(worker, answer(chunk, results=answer(chunk).results[:2]))]
            if chunk.number == 5
            else [(worker, answer(chunk))]
        )

    engine.behave = behave
    got = []
    driver = drive(engine)
    for item in driver.results(iter(range(1000)), lambda: bool(stopped)):
        got.append(item)
        if len(got) == 10:
            stopped.append(1)
    assert engine.told_to_finish
    assert got == done(len(got))
    assert 10 <= len(got) <= 18
    with pytest.raises(Withdrawn):
        driver.again(3)


def test_a_photo_is_done_again_at_once_even_if_its_content_is_known() -> None:
    engine = FakeEngine(1)
    driver = drive(engine)
    results = driver.results(iter(range(24)), lambda: False)
    assert next(results) == "0 done"
    assert driver.again(0) == "0 again"
    assert [names(chunk) for _, chunk in engine.log if chunk.force] == [[0]]
    assert ["0 done", *results] == done(24)


def test_what_workers_say_and_measure_reaches_the_run() -> None:
    notes = Notes()
    said = (Note("a detail"), Note("a warning", warns=True))
    engine = FakeEngine(1, lambda worker, chunk: [(worker, answer(chunk, notes=said))])
    driver = drive(engine, notes)
    assert list(driver.results(iter(range(8)), lambda: False)) == done(8)
    chunks = len(engine.log)
    assert chunks > 1
    assert (notes.warnings, notes.details) == (["a warning"], ["a detail"] * chunks)
    assert driver.clock.times()["read"].busy_seconds == chunks
    assert list(driver.providers) == ["P"]
    assert (driver.crew.device, driver.crew.jobs, driver.crew.workers) == ("cpu:1", 1, 1)
