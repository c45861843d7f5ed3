"""Query photos in the order they were given, on as many processors as there is work for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TypeVar

from facecli.pipeline.cores import usable_cores
from facecli.pipeline.runner import Crew, Worker, run_in_order

FEW = 2
"""Up to so many tasks are done without a thread of their own."""
AHEAD = 4
"""Tasks in flight for each worker."""

Task = TypeVar("Task")
Result = TypeVar("Result")


def work_in_order(tasks: Sequence[Task], open_worker: Callable[[], Worker[Task, Result]], most: int | None = None) -> Iterator[Result]:
    """The result of each task, in order; each thread, of `most` or of one for each processor, opens a worker for itself."""
    if len(tasks) <= FEW:
        with closing(open_worker()) as worker:
            yield from map(worker, tasks)
        return
    size = min(most or usable_cores(), len(tasks))
    with closing(Crew(open_worker, size)) as crew:
        for result in run_in_order(map(crew.submit, tasks), window=size * AHEAD, stop=lambda: False):
            assert result is not None
            yield result
