"""Ends that are asked for from outside, and when the process began."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from facecli.cli.console import Console


@contextmanager
def catching_signals(console: Console) -> Iterator[Callable[[], int]]:
    """Within the block the first SIGINT or SIGTERM only asks for an end; the second ends the process at once.

    Yields a function that gives the number of the signal that asked, 0 if none did. Ending at once is safe: the index is whole after
    every commit, and what is not committed is done again by the next run.
    """
    caught: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if caught:
            os._exit(128 + number)
        caught.append(number)
        console.warn("finishing what is in flight; once more to leave at once")

    earlier = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: caught[0] if caught else 0
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def process_began() -> float:
    """When this process began, on the clock of time.perf_counter; now, where the system does not tell."""
    try:
        with open("/proc/self/stat", "rb") as stat, open("/proc/uptime", "rb") as uptime:
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
            age = float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        age = 0.0
    return time.perf_counter() - max(0.0, age)
