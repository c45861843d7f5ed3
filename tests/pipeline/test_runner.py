"""The thread pool gives the same results as a plain loop, has a limit, and finishes what it started."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from facecli.pipeline.runner import ThreadPool, run_in_order


class Doubler:
    """A worker that doubles numbers, with configurable delays and errors."""

    def __init__(self, pause: Callable[[int], float] = lambda _: 0.0, fails_at: int | None = None) -> None:
        self.pause, self.fails_at, self.closed = pause, fails_at, False
        self.thread = threading.get_ident()

    def __call__(self, task: int) -> int:
        assert threading.get_ident() == self.thread, "a worker runs in the thread that made it"
        time.sleep(self.pause(task))
        if task == self.fails_at:
            raise ValueError(task)
        return 2 * task

    def close(self) -> None:
        self.closed = True


def crew_of(size: int, make: Callable[[], Doubler] = Doubler) -> tuple[ThreadPool[int, int], list[Doubler]]:
    made: list[Doubler] = []

    def make_and_keep() -> Doubler:
        made.append(make())
        return made[-1]

    return ThreadPool(make_and_keep, size), made


@pytest.mark.parametrize("window", [1, 2, 7, 2000])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_results_come_in_order(size: int, window: int) -> None:
    crew, made = crew_of(size)
    seen = list(run_in_order(map(crew.submit, range(1000)), window=lambda: window, stop=lambda: False))
    crew.close()
    assert seen == [2 * i for i in range(1000)]
    assert all(worker.closed for worker in made)


def test_a_slow_head_does_not_change_the_order() -> None:
    crew, _ = crew_of(4, lambda: Doubler(pause=lambda i: 0.05 if i % 10 == 0 else 0.0))
    assert list(run_in_order(map(crew.submit, range(40)), window=lambda: 8, stop=lambda: False)) == [
        2 * i for i in range(40)
    ]
    crew.close()


@pytest.mark.parametrize("place", [0, 20, 39])
def test_an_exception_ends_the_run_at_its_place(place: int) -> None:
    crew, _ = crew_of(3, lambda: Doubler(fails_at=place))
    seen = []
    with pytest.raises(ValueError, match=str(place)):
        seen.extend(run_in_order(map(crew.submit, range(40)), window=lambda: 8, stop=lambda: False))
    crew.close()
    assert seen in ([], [2 * i for i in range(place)])


def test_an_exception_while_a_worker_is_made_reaches_the_consumer() -> None:
    def make() -> Doubler:
        raise OSError("no model")

    crew: ThreadPool[int, int] = ThreadPool(make, 2)
    with pytest.raises(OSError, match="no model"):
        list(run_in_order(map(crew.submit, range(4)), window=lambda: 4, stop=lambda: False))
    crew.close()


def test_no_more_than_the_window_is_looked_ahead() -> None:
    drawn = 0

    def source() -> Iterator[int]:
        nonlocal drawn
        for i in range(200):
            drawn += 1
            yield i

    crew, _ = crew_of(2)
    furthest = 0
    for taken, _result in enumerate(run_in_order(map(crew.submit, source()), window=lambda: 5, stop=lambda: False)):
        furthest = max(furthest, drawn - taken)
    crew.close()
    assert furthest <= 6


def test_nothing_to_do_still_gives_the_consumer_its_turn() -> None:
    crew, _ = crew_of(1)
    assert list(run_in_order([None, crew.submit(1), None, crew.submit(2)], window=lambda: 1, stop=lambda: False)) == [
        None,
        2,
        None,
        4,
    ]
    crew.close()


def test_a_stop_keeps_a_prefix_and_finishes_what_runs() -> None:
    done: list[int] = []
    stopped = threading.Event()
    crew, made = crew_of(2, lambda: Doubler(pause=lambda _: 0.002))
    for result in run_in_order(map(crew.submit, range(500)), window=lambda: 50, stop=stopped.is_set):
        assert result is not None
        done.append(result)
        if len(done) == 30:
            stopped.set()
    crew.close()
    assert done == [2 * i for i in range(len(done))]
    assert 30 <= len(done) < 90
    assert all(worker.closed for worker in made)


def test_a_consumer_that_leaves_cancels_what_has_not_begun() -> None:
    ran: list[int] = []
    left = threading.Event()

    class Noting(Doubler):
        def __call__(self, task: int) -> int:
            ran.append(task)
            assert task == 0 or left.wait(60)
            return task

    crew, _ = crew_of(1, Noting)
    results = run_in_order(map(crew.submit, range(100)), window=lambda: 60, stop=lambda: False)
    next(results)
    results.close()  # type: ignore[attr-defined]
    left.set()
    crew.close()
    assert ran in ([0], [0, 1])
