"""Run a network over many rows in batches that suit its device."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.errors import DeviceFull, FacecliError
from facecli.vision.runtime.session import Session, failure

Blank = Callable[[tuple[int, ...], "np.dtype[Any]"], NDArray[Any]]
"""Allocates an uninitialised array of a shape and dtype."""


class Batches:
    """Runs a network in batches of at most `most` rows; thread-safe.

    Accelerators tune themselves for each batch size, for seconds on some, so with `padded` there are few sizes: the
    powers of two. A device that lacks the memory for a batch takes half as many rows from then on.
    """

    def __init__(self, session: Session, most: int, *, padded: bool = False, blank: Blank = np.empty) -> None:
        """`most` counts only if the network accepts batches."""
        self.session, self.blank, self._padded = session, blank, padded
        self.most = 1
        if session.input.shape[0] is None:
            self.most = _power_of_two(most) if padded else most
        self.note_full: Callable[[int], None] = lambda _: None
        """Called with the size of a batch for which the device lacks the memory."""
        self._lock = threading.Lock()
        self._running, self._since, self._busy = 0, 0.0, 0.0

    @property
    def busy_seconds(self) -> float:
        """Seconds in which the network ran, in any thread."""
        return self._busy

    @property
    def largest(self) -> int:
        """Rows of the largest batch now; some sessions have a preference."""
        wish: int | None = getattr(self.session, "most", None)
        return wish or self.most

    def limit(self, most: int) -> None:
        """Never run more than `most` rows at once."""
        with self._lock:
            self.most = max(1, min(self.most, most))

    def room_for(self, rows: int) -> int:
        """The rows that a buffer needs for `rows` rows and the padding of their last batch."""
        rest = rows % self.largest
        return rows - rest + self._size(rest) if rest else rows

    def run(self, feed: NDArray[Any], rows: int) -> Iterator[tuple[int, list[NDArray[Any]]]]:
        """Evaluate the network on the first `rows` rows of `feed`, batch by batch.

        Yields the number of rows of each batch and its outputs, (rows, ...), valid until this thread's next run.
        `feed` has the rows that `room_for` tells; those after `rows` may hold anything. Raises DeviceError.
        """
        done = 0
        while done < rows:
            count = min(rows - done, self.largest)
            size = min(self._size(count), len(feed) - done)
            try:
                outputs = self._time(feed[done : done + size])
            except DeviceFull:
                if size == 1:
                    raise
                self._halve(size)
                continue
            # Some exports merge the axes of batch and anchors.
            yield count, [output[: len(output) // size * count] for output in outputs]
            done += count

    def _size(self, rows: int) -> int:
        return 1 << (rows - 1).bit_length() if self._padded else rows

    def _halve(self, size: int) -> None:
        with self._lock:
            self.most = min(self.most, size // 2)
        self.note_full(size)

    def _time(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        """Run the network; time in which several threads run it counts once."""
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._since = time.perf_counter()
        try:
            return self.session.run(feed)
        except FacecliError:
            raise
        except Exception as error:  # whatever a driver raises
            raise failure(error, self.session.provider) from error
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._busy += time.perf_counter() - self._since


def _power_of_two(most: int) -> int:
    """The largest power of two that is at most `most`."""
    return 1 << (most.bit_length() - 1)
