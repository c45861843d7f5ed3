"""Handling of the signals that end a command, and the start time of the process."""

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

ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_at_second_signal() -> None:
    """Make a SIGINT or SIGTERM after the first signal end the process at once.

    SIGHUP doesn't: a terminal that closes may send it twice, once by itself and once by its shell.

    Python runs signal handlers in the main thread only between bytecodes, so never while a library computes or waits
    there. But it also writes each signal's number to a pipe, which a thread reads here. Ending at once is safe: the
    index is consistent after every commit, and the next run repeats uncommitted work.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_count_signals, args=(reader,), name="signals", daemon=True).start()


def _count_signals(reader: int) -> None:
    asked = False
    while number := os.read(reader, 1):
        if number[0] in ENDS:
            if asked and number[0] != signal.SIGHUP:
                os._exit(128 + number[0])
            asked = True


@contextmanager
def catching_signals(console: Console) -> Iterator[Stop]:
    """Make a signal stop a run within the block; without photos in progress it raises Interrupted at once."""
    from facecli.pipeline.stopping import Stop  # noqa: PLC0415 (other commands need none)

    stop = Stop()

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop():
            return  # SIGHUP again; another signal would end the process
        if stop.finishes:
            # Printing fails if the signal interrupts another print; then the run stops without this message.
            with suppress(RuntimeError, OSError):
                console.warn("finishing the photos in progress; press Ctrl-C again to stop at once")
        stop.ask(number)

    # If a shell or nohup ignores the signal, it stays ignored.
    earlier = {number: signal.signal(number, handle) for number in ENDS if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield stop
    except BaseException as error:
        # An interrupted import can raise any error; facecli's own errors are reported.
        if isinstance(error, FacecliError) or not (stop() or isinstance(error, KeyboardInterrupt)):
            raise
        raise Interrupted(
            stop() or signal.SIGINT, "stopped early; finished photos are kept: run it again to continue"
        ) from error
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def process_began() -> float:
    """The start time of this process on the clock of time.perf_counter; the current time if unknown."""
    try:
        with open("/proc/self/stat", "rb") as stat, open("/proc/uptime", "rb") as uptime:
            ticks = int(stat.read().rpartition(b")")[2].split()[19])
            age = float(uptime.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        age = 0.0
    return time.perf_counter() - max(0.0, age)
