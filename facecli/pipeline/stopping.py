"""An end that is asked for from outside, and what is finished before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Item = TypeVar("Item")


class Stop:
    """Whether a run is to end early, as the number of a signal, 0 while it is not.

    A run that has photos in flight looks here, finishes them and keeps them. Everywhere else nothing is lost by ending
    at once: there `ask` raises KeyboardInterrupt, whatever the run waits for: a lock, a directory of a slow disk, an
    erasure.
    """

    def __init__(self, asked: Callable[[], int] = lambda: 0) -> None:
        """`asked` is looked at beside what `ask` was told."""
        self._asked, self._number = asked, 0
        self.finishes = False
        """Whether photos are in flight."""

    def __call__(self) -> int:
        return self._number or self._asked()

    def ask(self, number: int) -> None:
        """Ask for the end; to be called in the thread that runs, as the handler of a signal is."""
        self._number = number
        if not self.finishes:
            raise KeyboardInterrupt

    @contextmanager
    def finishing(self) -> Iterator[None]:
        """Within the block an end is only asked for: it is the block that looks, and ends when it can."""
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
                # An import that is interrupted can end in any error.
                if not self._number:
                    raise
                return
            finally:
                self.finishes = True
            yield item
