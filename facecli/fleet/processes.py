"""The engine of processes on this machine: each worker is a Python of its own, which ends with the driver."""

from __future__ import annotations

import contextlib
import itertools
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from facecli.errors import UsageError
from facecli.fleet.engine import Event, Failure, failure_of
from facecli.fleet.process import HEADER, NOT_OURS, decode_reply, write_message
from facecli.pipeline.messages import Finish, PhotoChunk, Spec, Trouble

_START = (
    "import sys; sys.argv[3] in sys.path or sys.path.insert(0, sys.argv[3]); "
    "from facecli.fleet.process import main; main()"
)
_PIECE = 1 << 20
ENDING_SECONDS = 1.0
"""How long a worker that has closed its connection may take to end."""


class _Worker(Struct):
    process: subprocess.Popen[bytes]
    connection: socket.socket
    received: bytearray


class ProcessEngine:
    """Workers in processes, started afresh and not forked: a fork would share the locks of libraries."""

    name = "processes"

    def __init__(self, specs: Sequence[Spec], beginnings: bytes) -> None:
        """Workers take the specs in turn; `beginnings`: see KnownContents."""
        self._specs, self.most = list(specs), len(specs)
        self._known = _memory_file(beginnings) if beginnings else -1
        self._workers: dict[int, _Worker] = {}
        self._numbers = itertools.count()
        self._selector = selectors.DefaultSelector()
        self._events: list[Event] = []

    def begin(self) -> int:
        number = next(self._numbers)
        mine, theirs = socket.socketpair()
        handles = (theirs.fileno(), *([self._known] if self._known >= 0 else []))
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        # A worker inherits what is blocked, so that a Ctrl-C while it starts is none for it; here it comes a bit later.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, NOT_OURS)
        try:
            process = subprocess.Popen(  # noqa: S603 (fixed arguments)
                # -P: the working directory must not be on the import path, since it may be an untrusted album.
                [sys.executable, "-P", "-c", _START, str(theirs.fileno()), str(self._known), root],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=handles,
            )
        except OSError as error:
            mine.close()
            raise UsageError(f"a worker process cannot be started ({error.strerror})", sys.executable) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        self._workers[number] = _Worker(process, mine, bytearray())
        self._selector.register(mine, selectors.EVENT_READ, number)
        self._write(number, msgspec.msgpack.encode(self._specs[number % len(self._specs)]))
        return number

    def send(self, worker: int, chunk: PhotoChunk) -> None:
        self._write(worker, msgspec.msgpack.encode(chunk))

    def finish(self) -> None:
        for number in list(self._workers):
            self._write(number, msgspec.msgpack.encode(Finish()))

    def drop(self, worker: int) -> None:
        found = self._workers.pop(worker, None)
        if found is not None:
            self._selector.unregister(found.connection)
            found.connection.close()
            found.process.kill()
            found.process.wait()

    def wait(self, seconds: float) -> list[Event]:
        events, self._events = self._events, []
        for key, _ in self._selector.select(0 if events else seconds):
            events += self._read(key.data)
        return events

    def close(self) -> None:
        for number in list(self._workers):
            self.drop(number)
        self._selector.close()
        if self._known >= 0:
            os.close(self._known)

    def _write(self, number: int, data: bytes) -> None:
        """Send a message; a worker that is gone is heard of by `wait`."""
        worker = self._workers.get(number)
        if worker is not None:
            try:
                write_message(worker.connection, data)
            except OSError:
                self._events += self._end(number)

    def _read(self, number: int) -> list[Event]:
        """What a worker has said; that it is gone, if its socket is closed."""
        worker = self._workers.get(number)
        if worker is None:
            return []
        try:
            part = worker.connection.recv(_PIECE)
        except OSError:
            part = b""
        worker.received += part
        events = self._messages(number, worker.received)
        return events if part else [*events, *self._end(number)]

    def _messages(self, number: int, received: bytearray) -> list[Event]:
        events: list[Event] = []
        while len(received) >= HEADER.size:
            size = HEADER.size + HEADER.unpack_from(received)[0]
            if len(received) < size:
                break
            data = bytes(received[HEADER.size : size])
            del received[:size]
            try:
                reply = decode_reply(data)
            except (msgspec.DecodeError, ValueError) as error:
                return [*events, *self._end(number, f"it answered nonsense: {error}")]
            events.append((number, failure_of(reply) if isinstance(reply, Trouble) else reply))
        return events

    def _end(self, number: int, why: str = "") -> list[Event]:
        """Forget a worker that is lost."""
        worker = self._workers.get(number)
        if worker is None:
            return []
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(ENDING_SECONDS)
        code = worker.process.returncode
        self.drop(number)
        return [(number, Failure(RuntimeError(why or _ending(code))))]


def _ending(code: int | None) -> str:
    """How a process ended whose connection is closed; None where it goes on."""
    if code is None:
        return "the process closed its connection"
    return f"the process ended with code {code}" if code >= 0 else f"the process was ended by signal {-code}"


def _memory_file(data: bytes) -> int:
    """A file in memory without a name, for the workers to map."""
    handle = os.memfd_create("facecli-contents")
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]
    return handle
