"""Count the photos that a run has to read while it runs, so that it can say how long it will take."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from facecli.config import IndexOptions
from facecli.indexing.change_detector import ChangeDetector
from facecli.photos.scan import Scan
from facecli.reporting import Reporter
from facecli.store.reader import IndexReader
from facecli.types import IndexReport

PATIENCE = 1.0
"""Seconds that the end of a run waits for the thread."""
Count = Callable[[Callable[[], bool]], int]
"""Counts the photos to read; gives up where the function that it gets says so."""


def count_work(scan: Scan, store: IndexReader, options: IndexOptions, enough: Callable[[], bool]) -> int:
    """How many photos a run over a scan reads; those that are unchanged, or known to be unreadable, take no time."""
    count = 0
    for entry in ChangeDetector(options, scan, store, IndexReport("", "")):
        count += entry is not None
        if enough():
            break
    return count


class Expectation:
    """A count in a thread of its own, whose result a reporter gets."""

    def __init__(self, reporter: Reporter, count: Count) -> None:
        self._reporter, self._count = reporter, count
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin counting, where somebody watches."""
        if self._reporter.watched:
            self._thread = threading.Thread(target=self._tell, name="expectation", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """End the thread, since the index that it reads is closed next; one that waits for a disk is left behind."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join(PATIENCE)

    def _tell(self) -> None:
        # The run meets and reports the same errors; a thread that was left behind finds the index closed.
        with suppress(Exception):
            total = self._count(self._ended.is_set)
            if not self._ended.is_set():
                self._reporter.expect(total)
