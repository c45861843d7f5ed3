"""Ends that are asked for from outside, and when the process began."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING

from facecli.cli.console import Console
from facecli.errors import FacecliError, Interrupted

if TYPE_CHECKING:
    from facecli.pipeline.stopping import Stop

ENDS = (signal.SIGINT, signal.SIGTERM)


def end_at_second_signal() -> None:
    """From now on the second SIGINT or SIGTERM ends the process at once, whatever it does or waits for.

    Python calls a signal's handler in the main thread between two steps of its own, and so not while a library computes
    or waits there. The number of each signal goes into a pipe all the same, and a thread reads it. Ending at once is
    safe: the index is whole after every commit, and what is not committed is done again by the next run.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_count_signals, args=(reader,), name="signals", daemon=True).start()


def _count_signals(reader: int) -> None:
    asked = False
    while number := os.read(reader, 1):
        if number[0] in ENDS:
            if asked:
                os._exit(128 + number[0])
            asked = True


@contextmanager
def catching_signals(console: Console) -> Iterator[Stop]:
    """Within the block SIGINT and SIGTERM ask a run for its end; one that has nothing in flight ends there and then, as Interrupted."""
    from facecli.pipeline.stopping import Stop  # noqa: PLC0415 (other commands need none)

    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.finishes:
            # A line that is being written cannot take another in its midst; the run ends without the note.
            with suppress(RuntimeError, OSError):
                console.warn("finishing what is in flight; once more to leave at once")
        stop.ask(number)

    # What a shell or nohup has it ignore stays ignored.
    earlier = {number: signal.signal(number, handle) for number in ENDS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield stop
    except BaseException as error:
        # An import that is interrupted can end in any error; what facecli itself has to say is said.
        if isinstance(error, FacecliError) or not (stop() or isinstance(error, KeyboardInterrupt)):
            raise
        raise Interrupted(
            stop() or signal.SIGINT, "stopped early; what was done is kept: run it again to go on"
        ) from error
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
