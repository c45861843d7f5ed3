"""A worker in a process of its own: chunks come in and answers go out through one socket, which ends it when closed."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import numpy as np
from numpy.typing import NDArray

from facecli.fleet.engine import AT_ONCE, trouble_of
from facecli.pipeline.chunk_worker import ChunkWorker
from facecli.pipeline.messages import Answer, Finish, Hello, Note, PhotoChunk, Spec, Trouble
from facecli.pipeline.ties import Ties
from facecli.reporting import SilentReporter

HEADER = struct.Struct("<I")
"""The length of a message."""
PR_SET_PDEATHSIG = 1
NOT_OURS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals for the whole group of processes that are the driver's alone; blocked until a worker can ignore them."""


class NoteBook(SilentReporter):
    """A reporter that keeps what is said until the next answer takes it along."""

    def __init__(self) -> None:
        self._notes: list[Note] = []
        self._lock = threading.Lock()

    def take(self) -> tuple[Note, ...]:
        """What has been said since the last call."""
        with self._lock:
            notes, self._notes = self._notes, []
        return tuple(notes)

    def warn(self, message: str) -> None:
        with self._lock:
            self._notes.append(Note(message, warns=True))

    def detail(self, message: str) -> None:
        with self._lock:
            self._notes.append(Note(message))


class KnownContents:
    """The beginnings of the digests that an index has; a content with a known beginning need not be looked at."""

    def __init__(self, beginnings: bytes | mmap.mmap | NDArray[np.uint8]) -> None:
        """`beginnings` holds uint64, ascending, little-endian: each digest's first eight bytes, read big-endian."""
        self._beginnings = np.frombuffer(beginnings, "<u8")

    def __call__(self, digest: bytes, force: bool) -> bool:  # noqa: FBT001 (the order is that of Ties.knows)
        if force or not len(self._beginnings):
            return False
        wanted = np.uint64(int.from_bytes(digest[:8], "big"))
        place = int(np.searchsorted(self._beginnings, wanted))
        return place < len(self._beginnings) and bool(self._beginnings[place] == wanted)


class RemoteWorker:
    """A worker that speaks in bytes; it lives in another process than the driver."""

    def __init__(self, spec: bytes, beginnings: bytes | mmap.mmap | NDArray[np.uint8] = b"") -> None:
        """`spec` is a Spec; for `beginnings` see KnownContents."""
        self._book = NoteBook()
        self._worker = ChunkWorker(
            msgspec.msgpack.decode(spec, type=Spec), Ties(KnownContents(beginnings), report=self._book)
        )

    def hello(self) -> bytes:
        """The Hello of the worker."""
        return msgspec.msgpack.encode(self._worker.hello())

    def work(self, chunk: PhotoChunk) -> bytes:
        """The Answer to a chunk, or the Trouble with it."""
        try:
            answer = self._worker.work(chunk)
        except Exception as error:  # noqa: BLE001 (the driver decides what it means)
            return msgspec.msgpack.encode(trouble_of(error, chunk.number))
        if notes := self._book.take():
            answer = msgspec.structs.replace(answer, notes=(*answer.notes, *notes))
        return msgspec.msgpack.encode(answer)

    def do(self, chunk: bytes) -> bytes:
        """Like `work`, for a chunk in bytes."""
        return self.work(msgspec.msgpack.decode(chunk, type=PhotoChunk))

    def finish(self) -> None:
        """Begin no more photos."""
        self._worker.finish()


class RemoteWorkerOnRequest(RemoteWorker):
    """A worker that opens its models when it is asked for its Hello, and then tells why it cannot.

    Of an actor that fails while it is made, Ray tells no more than that it died.
    """

    def __init__(self, spec: bytes, beginnings: bytes | mmap.mmap | NDArray[np.uint8] = b"") -> None:
        self._given = spec, beginnings

    def hello(self) -> bytes:
        try:
            super().__init__(*self._given)
            return super().hello()
        except Exception as error:  # noqa: BLE001 (the driver decides what it means)
            trouble = trouble_of(error)
            where = f"{trouble.where} on {socket.gethostname()}".strip()
            return msgspec.msgpack.encode(msgspec.structs.replace(trouble, where=where))


def read_message(read: Callable[[int], bytes]) -> bytes:
    """One message; empty if the other side has closed the connection."""
    header = _read_whole(read, HEADER.size)
    return _read_whole(read, HEADER.unpack(header)[0]) if header else b""


def _read_whole(read: Callable[[int], bytes], size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        part = read(min(size - len(data), 1 << 20))
        if not part:
            return b""
        data += part
    return bytes(data)


def write_message(connection: socket.socket, data: bytes) -> None:
    """Send one message."""
    connection.sendall(HEADER.pack(len(data)) + data)


def decode_request(data: bytes) -> PhotoChunk | Finish:
    """What a driver sends."""
    return msgspec.msgpack.decode(data, type=PhotoChunk | Finish)


def decode_reply(data: bytes) -> Hello | Answer | Trouble:
    """What a worker sends; raises msgspec.ValidationError or DecodeError for anything else."""
    return msgspec.msgpack.decode(data, type=Hello | Answer | Trouble)


def main() -> None:
    """Serve the socket and the known contents whose handles stand in the arguments, until the socket is closed.

    Signals for the whole group of processes are the driver's: it tells the workers what to do.
    """
    _end_with_parent()
    for number in NOT_OURS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, NOT_OURS)
    connection = socket.socket(fileno=int(sys.argv[1]))
    spec = read_message(connection.recv)
    try:
        worker = RemoteWorker(spec, _map(int(sys.argv[2])))
        write_message(connection, worker.hello())
        _serve(connection, worker)
    except OSError:
        pass
    except Exception as error:  # noqa: BLE001 (the driver decides what it means)
        write_message(connection, msgspec.msgpack.encode(trouble_of(error)))
    # No thread is waited for: the driver has all answers, or is gone.
    os._exit(0)


def _end_with_parent() -> None:
    """Let the system end this process with the driver, even while a library computes and no thread could notice it."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _map(handle: int) -> bytes | mmap.mmap:
    size = os.fstat(handle).st_size if handle >= 0 else 0
    return mmap.mmap(handle, size, prot=mmap.PROT_READ) if size else b""


def _serve(connection: socket.socket, worker: RemoteWorker) -> None:
    lock = threading.Lock()

    def work(chunk: PhotoChunk) -> None:
        data = worker.work(chunk)
        with lock:
            write_message(connection, data)

    threads = ThreadPoolExecutor(AT_ONCE)
    while data := read_message(connection.recv):
        request = decode_request(data)
        if isinstance(request, Finish):
            worker.finish()
        else:
            threads.submit(work, request)
