"""Run tasks in worker threads, with a limited number in progress, and yield their results in order."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from typing import Generic, Protocol, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")
TaskIn_contra = TypeVar("TaskIn_contra", contravariant=True)
ResultOut_co = TypeVar("ResultOut_co", covariant=True)


class Worker(Protocol[TaskIn_contra, ResultOut_co]):
    """The work of one thread; it is created, called and closed in that thread."""

    def __call__(self, task: TaskIn_contra, /) -> ResultOut_co: ...

    def close(self) -> None: ...


class ThreadPool(Generic[Task, Result]):
    """Threads, each with its own worker, that take tasks from one queue."""

    def __init__(self, make: Callable[[], Worker[Task, Result]], size: int) -> None:
        self._make = make
        self._tasks: queue.SimpleQueue[tuple[Task, Future[Result]] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, name=f"worker-{i}", daemon=True) for i in range(size)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> Future[Result]:
        """Hand a task to the next free worker."""
        future: Future[Result] = Future()
        self._tasks.put((task, future))
        return future

    def close(self) -> None:
        """Wait until every worker has ended; queued tasks are done first unless they were cancelled."""
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        """Run one thread; its worker is created at its first task, so that an error in creating it is the task's."""
        worker: Worker[Task, Result] | None = None
        while (entry := self._tasks.get()) is not None:
            task, future = entry
            if future.set_running_or_notify_cancel():
                try:
                    worker = worker or self._make()
                    future.set_result(worker(task))
                except BaseException as error:  # noqa: BLE001 (raised again by the consumer)
                    future.set_exception(error)
        if worker is not None:
            worker.close()


def run_in_order(
    begun: Iterable[Future[Result] | None], *, window: Callable[[], int], stop: Callable[[], object]
) -> Iterator[Result | None]:
    """Yield the results of tasks in the order in which they are started, with at most `window()` in progress.

    Each step of `begun` starts one task (ThreadPool.submit) or returns None, which is yielded unchanged, so that the
    consumer regains control while there is nothing to do. When `stop` becomes true, no more tasks are started: running
    tasks are finished, and the results stay a prefix of the order. The first exception of a task is raised at its place
    in the order and ends the run.
    """
    pending: deque[Future[Result]] = deque()
    source = iter(begun)
    open_ended = True
    try:
        while (open_ended or pending) and not stop():
            if pending and (pending[0].done() or len(pending) >= window() or not open_ended):
                yield pending.popleft().result()
                continue
            try:
                future = next(source)
            except StopIteration:
                open_ended = False
                continue
            if future is None:
                yield None
            else:
                pending.append(future)
        yield from _finish(pending)
    finally:
        for future in pending:
            future.cancel()


def _finish(pending: deque[Future[Result]]) -> Iterator[Result]:
    """Cancel the tasks that have not started, and yield the results before the first cancelled one."""
    for future in reversed(pending):
        future.cancel()
    while pending:
        try:
            result = pending.popleft().result()
        except CancelledError:
            return
        yield result
