"""Stop a run on a signal, after the photos in progress are finished."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stop:
    """Whether a run is to stop: the number of the signal, 0 if none was received.

    While photos are in progress, the run checks this, finishes them and keeps them. At any other time nothing is lost
    by stopping at once, so `ask` raises KeyboardInterrupt, even while the run waits for a lock, a slow disk or an
    erasure.
    """

    def __init__(self, asked: Callable[[], int] = lambda: 0) -> None:
        """`asked` is a second source of a signal's number, besides `ask`."""
        self._asked, self._number = asked, 0
        self.finishes = False
        """Whether photos are in progress."""

    def __call__(self) -> int:
        return self._number or self._asked()

    def ask(self, number: int) -> None:
        """Request the stop; must be called in the main thread of the run, as signal handlers are."""
        self._number = number
        if not self.finishes:
            raise KeyboardInterrupt

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Within the block, a stop is only requested: the block checks for it and ends when it can."""
        self.finishes = True
        try:
            yield
        finally:
            self.finishes = False

    def at_once(self, items: Iterator[Item]) -> Iterator[Item]:
        """The same items; they end if a stop is requested while the next one is awaited."""
        while True:
            try:
                self.finishes = False
                item = next(items)
            except StopIteration:
                return
            except BaseException:
                # An interrupted import can raise any error.
                if not self._number:
                    raise
                return
            finally:
                self.finishes = True
            yield item
