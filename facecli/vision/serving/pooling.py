"""One network on one or more devices, fed by many threads in batches."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from msgspec import Struct

from facecli.errors import DeviceError, DeviceFull
from facecli.vision.runtime.session import Session
from facecli.vision.serving.requests import Feed, Outputs, Request, Waiting, share, split
from facecli.vision.serving.roster import Roster

CLOSING_SECONDS = 5.0
Blank = Callable[[tuple[int, ...], "np.dtype[Any]"], Feed]
"""Allocates an uninitialised array of a shape and dtype."""


class Batching(Struct, frozen=True):
    """How requests are joined into batches."""

    most: int
    """Rows of the largest batch."""
    sizes: tuple[int, ...] = ()
    """The allowed batch sizes, ascending from 1, padded with zeros; empty if any is allowed."""
    joins: bool = True
    """Whether requests of several threads share a batch."""
    threads: int = 1
    """Threads that serve a device: with two, one batch is gathered and copied while the other is computed."""


class Member:
    """A device in its use by one network."""

    def __init__(self, session: Session, name: str, batching: Batching, blank: Blank = np.empty) -> None:
        self.session, self.name, self.blank = session, name, blank
        self.most, self.sizes, self.serving = batching.most, batching.sizes, batching.threads
        self.full = False
        """Whether the device's limit is known."""
        self._wish: Callable[[Member], None] = lambda _: None
        self._lock = threading.Lock()
        self._running, self._since, self._busy = 0, 0.0, 0.0

    def size_for(self, rows: int) -> int:
        """The size of a batch that holds `rows`."""
        return min((size for size in self.sizes if size >= rows), default=rows)

    def take_at_most(self, size: int) -> None:
        """Never take more than `size` rows."""
        self.sizes = tuple(s for s in self.sizes if s <= size) or self.sizes[:1]
        self.most = min(self.most, size)

    def begin_small(self, wish: Callable[[Member], None]) -> None:
        """Take single rows until the device has shown that it can take more; `wish` is called after a full batch."""
        self.most, self._wish = self.sizes[0], wish

    def note(self, rows: int) -> None:
        """Check whether a batch of `rows` was full; if so, call `wish`."""
        if rows >= self.most and not self.full and self.sizes and self.most < self.sizes[-1]:
            self._wish(self)

    def take_more(self, size: int) -> None:
        """Take up to `size` rows, unless the device has run out of memory before."""
        with self._lock:
            if not self.full:
                self.most = max(self.most, size)

    def take_less(self, size: int) -> bool:
        """Halve the batch size, since the device has no memory for `size`; gives whether the limit changed."""
        with self._lock:
            self.full = True
            least = max((s for s in self.sizes if s <= size // 2), default=size // 2)
            news, self.most = least < self.most, min(self.most, max(1, least))
            return news

    def leave(self) -> bool:
        """End one of the serving threads; gives whether another remains."""
        with self._lock:
            self.serving -= 1
            return self.serving > 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count the block as busy time of the device, once for all threads."""
        with self._lock:
            self._running += 1
            if self._running == 1:
                self._since = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1
                if not self._running:
                    self._busy += time.perf_counter() - self._since

    @property
    def busy_seconds(self) -> float:
        """Seconds in which the device was busy with this network."""
        return self._busy


class PooledSession:
    """A Session that gathers runs into batches, served by the first free device.

    A device takes all that is waiting when it becomes free, so batches grow with the load and no request waits for
    others. Fast devices are free sooner and so get more work. A device that is out of memory takes half as much from
    then on; one that fails is dropped, and the others do its batch. The roster reports both.
    """

    def __init__(self, members: Sequence[Member], batching: Batching, roster: Roster) -> None:
        """Serve with `members`, all created with the same batching."""
        first = members[0].session
        self.provider, self.input, self.outputs, self.members = (
            first.provider,
            first.input,
            first.outputs,
            tuple(members),
        )
        self._batching, self._roster = batching, roster
        self._waiting = Waiting()
        self._lock = threading.Lock()
        self._left = len(members) * batching.threads
        self._threads = [
            threading.Thread(target=self._serve, args=(member,), name=f"device-{member.name}", daemon=True)
            for member in members
            for _ in range(batching.threads)
        ]
        for thread in self._threads:
            thread.start()

    def run(self, feed: Feed) -> Outputs:
        """Evaluate the network on `feed`, (rows, …); raises DeviceError if no device is left."""
        most = self._batching.most
        requests = [Request(feed[start : start + most]) for start in range(0, len(feed), most)]
        for request in requests:
            self._waiting.put(request)
        answers = [request.answer.result() for request in requests]
        return answers[0] if len(answers) == 1 else [np.concatenate(parts) for parts in zip(*answers, strict=True)]

    def close(self) -> None:
        """End the threads of the devices; one that is lost to its driver is left to itself."""
        self._waiting.end(DeviceError("the devices are closed", self.provider))
        for thread in self._threads:
            thread.join(CLOSING_SECONDS)

    @property
    def busy_seconds(self) -> float:
        """How long the devices have been in use, all together."""
        return sum(member.busy_seconds for member in self.members)

    def _serve(self, member: Member) -> None:
        """One thread of a device: take a batch, run it, give each request its rows."""
        buffers: dict[tuple[int, ...], Feed] = {}
        goes_on = True
        while goes_on and (requests := self._waiting.take(member.most if self._batching.joins else 1)):
            try:
                goes_on = self._take_on(member, requests, buffers)
            except BaseException as error:  # noqa: BLE001 (handed on whole: nobody else would ever answer those who wait)
                goes_on = False
                for request in requests:
                    request.fail(error)
        with self._lock:
            self._left -= 1
            last = not self._left
        if last:
            self._waiting.end(self._roster.end())

    def _take_on(self, member: Member, requests: Sequence[Request], buffers: dict[tuple[int, ...], Feed]) -> bool:
        """Run what is no more than the device takes, else part it; whether this thread is to go on."""
        if self._roster.has_lost(member.name):
            self._waiting.put_back(requests)
            return False
        rows = sum(len(request.feed) for request in requests)
        member.note(rows)
        if rows > member.most:
            self._waiting.put_back(split(requests))
            return True
        return self._answer(member, requests, buffers)

    def _answer(self, member: Member, requests: Sequence[Request], buffers: dict[tuple[int, ...], Feed]) -> bool:
        """Run one batch; whether this thread is to go on."""
        size = member.size_for(sum(len(request.feed) for request in requests))
        try:
            with member.running():
                outputs = member.session.run(_gather(requests, size, member.blank, buffers))
            shares = share(requests, outputs, size)
        except DeviceFull as error:
            if size > 1:
                if member.take_less(size):
                    self._roster.shrink(member.name, member.most)
            elif not member.leave():
                self._roster.lose(member.name, error)
            self._waiting.put_back(requests)
            return size > 1
        except Exception as error:  # noqa: BLE001 (whatever a driver raises must cost the device, not the run)
            self._roster.lose(member.name, error)
            self._waiting.put_back(requests)
            return False
        for request, rows in zip(requests, shares, strict=True):
            request.answer.set_result(rows)
        return True


def _gather(requests: Sequence[Request], size: int, blank: Blank, buffers: dict[tuple[int, ...], Feed]) -> Feed:
    """The feeds of a batch, concatenated and padded with zeros to `size`, in this thread's buffer for their shape.

    A single feed of that size is returned as it is.
    """
    first = requests[0].feed
    if len(first) == size:
        return first
    buffer = buffers.get(first.shape[1:])
    if buffer is None or len(buffer) < size or buffer.dtype != first.dtype:
        buffer = buffers[first.shape[1:]] = blank((size, *first.shape[1:]), first.dtype)
    batch, rows = buffer[:size], 0
    for request in requests:
        batch[rows : rows + len(request.feed)] = request.feed
        rows += len(request.feed)
    batch[rows:] = 0
    return batch
