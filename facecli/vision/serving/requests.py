"""Requests of threads to a network, until a device answers them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

Feed = NDArray[Any]
Outputs = list[NDArray[Any]]


class Request(Struct, eq=False):
    """A feed, (rows, ...), whose outputs a thread waits for."""

    feed: Feed
    answer: Future[Outputs] = field(default_factory=Future)

    def fail(self, error: BaseException) -> None:
        """Answer with an error, unless already answered."""
        if not self.answer.done():
            self.answer.set_exception(error)


class Waiting:
    """Requests that wait for a device, by shape of their rows; those of one shape can share a batch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queues: dict[tuple[int, ...], deque[Request]] = {}
        self._end: BaseException | None = None

    def put(self, request: Request, *, first: bool = False) -> None:
        """Add a request, with `first` in front of the others; it fails at once if no device is left."""
        with self._changed:
            if self._end is not None:
                request.answer.set_exception(self._end)
                return
            queue = self._queues.setdefault(request.feed.shape[1:], deque())
            (queue.appendleft if first else queue.append)(request)
            self._changed.notify()

    def put_back(self, requests: Sequence[Request]) -> None:
        """Put requests back in front, in their order."""
        for request in reversed(requests):
            self.put(request, first=True)

    def take(self, most: int) -> list[Request]:
        """Wait for requests, and take up to `most` rows (at least one request) of the fullest queue.

        Gives an empty list at the end.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._end is not None or any(self._queues.values()))
            if not any(self._queues.values()):
                return []
            queue = max(self._queues.values(), key=len)
            taken = [queue.popleft()]
            rows = len(taken[0].feed)
            while queue and rows + len(queue[0].feed) <= most:
                taken.append(queue.popleft())
                rows += len(taken[-1].feed)
            return taken

    def end(self, why: BaseException) -> None:
        """Fail all waiting and all future requests."""
        with self._changed:
            self._end = why
            for queue in self._queues.values():
                while queue:
                    queue.popleft().answer.set_exception(why)
            self._changed.notify_all()


def split(requests: Sequence[Request]) -> list[Request]:
    """Split requests into single rows, so that a smaller batch can be made of them."""
    parts: list[Request] = []
    for request in requests:
        if len(request.feed) == 1:
            parts.append(request)
            continue
        pieces = [Request(request.feed[i : i + 1]) for i in range(len(request.feed))]
        _Joint(request, pieces)
        parts += pieces
    return parts


class _Joint:
    """Answers a request when all its pieces are answered."""

    def __init__(self, request: Request, pieces: Sequence[Request]) -> None:
        self._request, self._pieces, self._missing, self._lock = request, pieces, len(pieces), threading.Lock()
        for piece in pieces:
            piece.answer.add_done_callback(self._one_done)

    def _one_done(self, _: Future[Outputs]) -> None:
        with self._lock:
            self._missing -= 1
            if self._missing:
                return
        try:
            self._request.answer.set_result(
                [np.concatenate(o) for o in zip(*(p.answer.result() for p in self._pieces), strict=True)]
            )
        except BaseException as error:  # noqa: BLE001 (of a piece, or of memory: a callback's own would be lost, and the request never answered)
            self._request.fail(error)


def share(requests: Sequence[Request], outputs: Outputs, size: int) -> list[Outputs]:
    """Split the outputs of a batch of `size` by request; some exports merge the axes of batch and anchors."""
    shares: list[Outputs] = []
    start = 0
    for request in requests:
        end = start + len(request.feed)
        shares.append([o[len(o) // size * start : len(o) // size * end] for o in outputs])
        start = end
    return shares
