"""Decoding in a separate process, with a time limit, for formats whose decoders are rare or known to crash.

The helper receives a file's bytes and returns pixels through two anonymous files in memory; requests and replies go
through two pipes, one line of JSON each. It never sees a path. When the worker ends for any reason, the pipe closes and
the helper ends. The worker ends a decoder that hangs; if the worker itself has ended, the helper's own alarm does.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any

from facecli.photos.faults import NO_MEMORY, is_memory_short
from facecli.photos.picture import Header, Picture
from facecli.photos.refusal import Refusal, unavailable, unreadable
from facecli.photos.sniff import ImageFormat
from facecli.types import ByteArray, SkipReason

START_SECONDS = 60.0
HEADER_SECONDS = 30.0
"""Time limit for importing the decoder and reading the header."""
PIXEL_SECONDS = 30.0
SECONDS_A_PIXEL = 1e-6
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGALRM)
"""Without SIGBUS, which is sent when there is no memory for the pages of the pixels."""
_KEEP = 64_000_000
_START = (
    "import sys; sys.argv[3] in sys.path or sys.path.insert(0, sys.argv[3]); "
    "from facecli.photos.helper import main; main()"
)


class Helper:
    """A helper process, started when it is first needed and again after it has ended; not thread-safe."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._source = -1
        self._target = -1
        self._size = 0

    def open_picture(self, form: ImageFormat, data: bytes, *, accept_truncated: bool) -> Picture:
        """Like `opening.open_picture`, but in the helper process; raises Refusal."""
        self._start()
        self._size = len(data)
        _write_whole(self._source, data)
        request = {"open": form.name, "accept_truncated": accept_truncated, "seconds": HEADER_SECONDS}
        reply = self._ask(request, HEADER_SECONDS)
        return _RemotePicture(self, Header(**reply["header"]))

    def read_pixels(self, frame: ByteArray) -> str:
        """Decode the picture that was opened last into `frame`, uint8 (h, w, 3), RGB.

        Returns a warning or an empty string; raises Refusal.
        """
        seconds = PIXEL_SECONDS + SECONDS_A_PIXEL * frame.shape[0] * frame.shape[1]
        reply = self._ask({"read": list(frame.shape), "seconds": seconds}, seconds)
        _read_whole(self._target, frame)
        for handle in (self._source, self._target):
            if os.fstat(handle).st_size > _KEEP:
                os.ftruncate(handle, 0)
        return str(reply["warning"])

    def close(self) -> None:
        """End the process and free its memory."""
        self._end()
        for handle in (self._source, self._target):
            if handle >= 0:
                os.close(handle)
        self._source = self._target = -1

    def _start(self) -> None:
        if self._process is not None and self._process.poll() is None:
            return
        self._end()
        try:
            if self._source < 0:
                self._source, self._target = _memory_file(), _memory_file()
            root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
            self._process = subprocess.Popen(  # noqa: S603  # fixed arguments
                # -P: the working directory must not be on the import path, since it may be an untrusted album.
                [sys.executable, "-P", "-c", _START, str(self._source), str(self._target), root],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(self._source, self._target),
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise unavailable("the process that decodes it cannot be started", str(error)) from error
        try:
            started = self._await_line(self._process, START_SECONDS)
        except BaseException:
            self._end()
            raise
        if not started:
            self._end()
            raise unavailable("the process that decodes it did not start")

    def _ask(self, request: dict[str, object], seconds: float) -> dict[str, Any]:
        """Send a request and wait for its reply; raises Refusal if the helper refuses, crashes or takes too long."""
        process = self._process
        assert process is not None
        try:
            line = self._exchange(process, request, seconds)
            reply: dict[str, Any] = json.loads(line) if line else {}
        except BaseException:
            self._end()  # else a late or broken reply would be taken for that of the next photo
            raise
        if not line:
            self._end()
            raise (
                unavailable(NO_MEMORY)
                if is_memory_short(self._size)
                else _ending(process.returncode, seconds, in_time=line is not None)
            )
        if "refused" in reply:
            reason, detail, refused_by, said = reply["refused"]
            raise Refusal(SkipReason(reason), detail, refused_by, said)
        return reply

    def _exchange(self, process: subprocess.Popen[bytes], request: dict[str, object], seconds: float) -> bytes | None:
        """The reply's line; empty if the helper has ended, None if it took too long."""
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
        except BrokenPipeError:
            return b""
        return self._await_line(process, seconds)

    @staticmethod
    def _await_line(process: subprocess.Popen[bytes], seconds: float) -> bytes | None:
        assert process.stdout is not None
        handle = process.stdout.fileno()
        deadline = time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            poller = select.poll()
            poller.register(handle, select.POLLIN)
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return None
            part = os.read(handle, 65536)
            if not part:
                return b""
            line += part
        return line

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.kill()
        with process:  # close the pipes and wait
            pass


class _RemotePicture:
    """A picture that the helper has opened."""

    def __init__(self, helper: Helper, header: Header) -> None:
        self._helper = helper
        self.header = header

    def read_into(self, frame: ByteArray) -> str:
        """See `Picture`."""
        return self._helper.read_pixels(frame)


def _ending(code: int, seconds: float, *, in_time: bool) -> Refusal:
    """The reason for a missing reply.

    A signal that is not from a crash, such as a kill for lack of memory, says nothing about the photo.
    """
    if not in_time:
        return unreadable(f"its decoder took more than {seconds:.0f} s")
    if code >= 0:
        return unreadable(f"its decoder ended with code {code}")
    if -code in _CRASHES:
        return unreadable(f"its decoder crashed (signal {-code})")
    return unavailable(f"its decoder was killed from outside (signal {-code})")


def _memory_file() -> int:
    """A file without a name, in memory if the system supports it."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("facecli")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _write_whole(handle: int, data: bytes) -> None:
    os.ftruncate(handle, 0)
    view, at = memoryview(data), 0
    while at < len(view):
        at += os.pwrite(handle, view[at : at + (1 << 30)], at)


def _read_whole(handle: int, frame: ByteArray) -> None:
    view, at = frame.reshape(-1).data, 0
    while at < len(view):
        got = os.preadv(handle, [view[at : at + (1 << 30)]], at)
        if not got:
            raise unreadable("its decoder returned too few pixels")
        at += got
