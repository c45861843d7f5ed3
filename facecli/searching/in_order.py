"""Process query photos in order, on as many processors as there is work for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeVar

from facecli.system import count_processors

if TYPE_CHECKING:
    from facecli.pipeline.runner import Worker

FEW = 2
"""The most tasks that are done without starting threads."""
AHEAD = 4
"""Tasks in progress per worker."""

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def work_in_order(
    tasks: Sequence[_Task], open_worker: Callable[[], Worker[_Task, _Result]], most: int | None = None
) -> Iterator[_Result]:
    """The result of each task, in order; each of `most` threads, by default one a processor, opens its own worker."""
    if len(tasks) <= FEW:
        with closing(open_worker()) as worker:
            yield from map(worker, tasks)
        return
    # Imported here: a single query does not need it.
    from facecli.pipeline.runner import ThreadPool, run_in_order  # noqa: PLC0415

    size = min(most or count_processors(), len(tasks))
    with closing(ThreadPool(open_worker, size)) as crew:
        for result in run_in_order(map(crew.submit, tasks), window=lambda: size * AHEAD, stop=lambda: False):
            assert result is not None
            yield result
