"""Work on photos in the order it was given, on as many processors as there is work for."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Generic, Self, TypeVar

from facecli.pipeline.cores import usable_cores

FEW = 2
"""Up to so many tasks are done without a thread pool."""

Task = TypeVar("Task")
Result = TypeVar("Result")


class Worker(ABC, Generic[Task, Result]):
    """Does one task after the other in one thread, with buffers of its own."""

    @abstractmethod
    def __call__(self, task: Task) -> Result:
        """Do one task."""

    @abstractmethod
    def close(self) -> None:
        """Give the buffers back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_in_order(tasks: Sequence[Task], open_worker: Callable[[], Worker[Task, Result]]) -> Iterator[Result]:
    """The result of each task, in order; each thread opens a worker for itself."""
    with ExitStack() as stack:
        if len(tasks) <= FEW:
            worker = stack.enter_context(open_worker())
            yield from map(worker, tasks)
        else:
            yield from _run_in_pool(tasks, lambda: stack.enter_context(open_worker()))


def _run_in_pool(tasks: Sequence[Task], open_worker: Callable[[], Worker[Task, Result]]) -> Iterator[Result]:
    # Imported here: a search of one photo needs no pool.
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

    own, opening = threading.local(), threading.Lock()

    def work(task: Task) -> Result:
        if not hasattr(own, "worker"):
            with opening:
                own.worker = open_worker()
        worker: Worker[Task, Result] = own.worker
        return worker(task)

    pool = ThreadPoolExecutor(min(usable_cores(), len(tasks)))
    try:
        yield from pool.map(work, tasks)
    finally:
        pool.shutdown(cancel_futures=True)
