"""One network on one or more devices, fed by many threads in batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facecli.errors import DeviceError, DeviceFull
from facecli.types import Reporter
from facecli.vision.session import Session

Feed = NDArray[Any]
Outputs = list[NDArray[Any]]


@dataclass(slots=True, eq=False)
class Request:
    """A feed that a thread waits for."""

    feed: Feed
    answer: Future[Outputs]


class Waiting:
    """Requests that no device has taken yet, by the shape of what they feed; those of one shape can share a batch."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queues: dict[tuple[int, ...], deque[Request]] = {}
        self._end: BaseException | None = None

    def put(self, request: Request, *, first: bool = False) -> None:
        """Add a request; `first` puts it back before the others. Once no device is left it fails at once."""
        with self._changed:
            if self._end is not None:
                request.answer.set_exception(self._end)
                return
            queue = self._queues.setdefault(request.feed.shape[1:], deque())
            (queue.appendleft if first else queue.append)(request)
            self._changed.notify()

    def take(self, most: int) -> list[Request]:
        """Wait for requests and take those of the fullest queue, `most` rows together; none once it has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._end is not None or any(self._queues.values()))
            if not any(self._queues.values()):
                return []
            queue = max(self._queues.values(), key=len)
            taken, rows = [queue.popleft()], 0
            rows = len(taken[0].feed)
            while queue and rows + len(queue[0].feed) <= most:
                taken.append(queue.popleft())
                rows += len(taken[-1].feed)
            return taken

    def end(self, why: BaseException) -> None:
        """Fail what waits and whatever comes."""
        with self._changed:
            self._end = why
            for queue in self._queues.values():
                while queue:
                    queue.popleft().answer.set_exception(why)
            self._changed.notify_all()


class PooledSession:
    """A Session whose runs are gathered into batches and served by the first device that is free.

    A device works on whatever waits when it gets free, so that batches grow with the load and none waits for company. Fast devices
    come back sooner and so get more. A device that has not enough memory takes half as much from then on; one that fails is left out,
    and its batch is done by the others. Both are said through `report`.
    """

    def __init__(self, sessions: Sequence[Session], names: Sequence[str], *, most: int, report: Reporter, sizes: Sequence[int] = ()) -> None:
        """Serve by `sessions`, called `names` in messages, at most `most` rows a batch; `sizes`: the only batch sizes, filled up with zeros."""
        self.provider, self.input, self.outputs = sessions[0].provider, sessions[0].input, sessions[0].outputs
        self._most, self._report, self._sizes = most, report, tuple(sizes)
        self._waiting = Waiting()
        self._lock = threading.Lock()
        self._left = len(sessions)
        for session, name in zip(sessions, names, strict=True):
            threading.Thread(target=self._serve, args=(session, name), name=f"device-{name}", daemon=True).start()

    def run(self, feed: Feed) -> Outputs:
        """Evaluate the network on `feed`, (rows, …); raises DeviceError once no device is left."""
        requests = [Request(feed[start : start + self._most], Future()) for start in range(0, len(feed), self._most)]
        for request in requests:
            self._waiting.put(request)
        answers = [request.answer.result() for request in requests]
        return answers[0] if len(answers) == 1 else [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def close(self) -> None:
        """End the threads of the devices."""
        self._waiting.end(DeviceError("the devices are closed", self.provider))

    def _serve(self, session: Session, name: str) -> None:
        """One device's thread: take a batch, run it, give each request its rows."""
        most = self._most
        while requests := self._waiting.take(most):
            rows = sum(len(request.feed) for request in requests)
            if rows > most:
                self._put_back(_split(requests))
                continue
            try:
                outputs = self._run_batch(session, [r.feed for r in requests])
            except DeviceFull as error:
                self._put_back(requests)
                if rows == 1:
                    self._drop(name, error)
                    return
                most = rows // 2
                self._report.warn(f"{name} has not the memory for a batch; going on with {most} at once")
            except Exception as error:  # noqa: BLE001 (whatever a driver raises must cost the device, not the run)
                self._put_back(requests)
                self._drop(name, error)
                return
            else:
                _hand_out(requests, outputs)

    def _run_batch(self, session: Session, feeds: Sequence[Feed]) -> Outputs:
        """Run feeds as one batch, filled up to one of the sizes that the device is tuned for."""
        rows = sum(len(feed) for feed in feeds)
        size = min((s for s in self._sizes if s >= rows), default=rows)
        parts = [*feeds, np.zeros((size - rows, *feeds[0].shape[1:]), feeds[0].dtype)] if size > rows else list(feeds)
        outputs = session.run(parts[0] if len(parts) == 1 else np.concatenate(parts))
        return [_first_rows(output, rows, size) for output in outputs]

    def _put_back(self, requests: Sequence[Request]) -> None:
        for request in reversed(requests):
            self._waiting.put(request, first=True)

    def _drop(self, name: str, error: Exception) -> None:
        """Go on without a device."""
        with self._lock:
            self._left -= 1
            left = self._left
        if left:
            self._report.warn(f"{name} failed and is left out; its batch is done by the others: {error}")
        else:
            self._waiting.end(error if isinstance(error, DeviceError) else DeviceError(f"the device failed ({error})", name))


def _first_rows(output: NDArray[Any], rows: int, size: int) -> NDArray[Any]:
    """The output of the first `rows` inputs of `size`; some exports merge the axes of batch and anchors."""
    return output[: len(output) // size * rows]


def _split(requests: Sequence[Request]) -> list[Request]:
    """The same requests with none of several rows, so that a smaller batch can be made of them."""
    parts: list[Request] = []
    for request in requests:
        if len(request.feed) == 1:
            parts.append(request)
            continue
        pieces = [Request(request.feed[i : i + 1], Future()) for i in range(len(request.feed))]
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
        errors = [error for piece in self._pieces if (error := piece.answer.exception()) is not None]
        if errors:
            self._request.answer.set_exception(errors[0])
        else:
            self._request.answer.set_result([np.concatenate(o) for o in zip(*(p.answer.result() for p in self._pieces), strict=True)])


def _hand_out(requests: Sequence[Request], outputs: Outputs) -> None:
    """Give each request its rows of the batch."""
    total = sum(len(request.feed) for request in requests)
    start = 0
    for request in requests:
        end = start + len(request.feed)
        request.answer.set_result([o[len(o) // total * start : len(o) // total * end] for o in outputs])
        start = end
