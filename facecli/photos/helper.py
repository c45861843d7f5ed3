"""The helper process: decodes one picture after another for the worker that started it (see `isolation`)."""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from msgspec.structs import asdict

from facecli.photos.faults import NO_MEMORY, decoder_faults
from facecli.photos.opening import open_picture
from facecli.photos.picture import Picture
from facecli.photos.refusal import Refusal, loading, unavailable
from facecli.photos.sniff import ImageFormat

_HEADER_MEMORY = 1 << 30
_PIXEL_MEMORY = 64
"""Bytes per pixel that a decoder may allocate; twice the highest need of any decoder."""
_ORPHAN_SECONDS = 5.0
STARTED = b"started\n"


def main() -> None:
    """Serve requests from stdin until it closes."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # the signal goes to the whole group: the worker decides when to end
        signal.signal(number, signal.SIG_IGN)
    replies = os.dup(1)
    os.dup2(2, 1)  # output of a library must not disturb the replies
    server = _Server(int(sys.argv[1]), int(sys.argv[2]))
    os.write(replies, STARTED)
    while line := sys.stdin.buffer.readline():
        request: dict[str, Any] = json.loads(line)
        # The alarm's default action ends the process even while a decoder hangs; only needed if the worker has ended.
        signal.setitimer(signal.ITIMER_REAL, request["seconds"] + _ORPHAN_SECONDS)
        reply = server.answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(replies, json.dumps(reply).encode() + b"\n")


class _Server:
    """The open picture and the two files in memory."""

    def __init__(self, source: int, target: int) -> None:
        self._source, self._target = source, target
        self._form = ImageFormat.JPEG
        self._data = b""
        self._picture: Picture | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a request with its result or with the reason for its failure."""
        try:
            return self.open(request) if "open" in request else self.read(request)
        except Refusal as refusal:
            found = refusal
        except (MemoryError, OSError):  # outside the decoder
            found = unavailable(NO_MEMORY)
        return {"refused": [found.reason, found.detail, found.refused_by, found.said]}

    def open(self, request: dict[str, Any]) -> dict[str, Any]:
        """Open the bytes in the source file."""
        self._picture = None
        self._form = ImageFormat[request["open"]]
        size = os.fstat(self._source).st_size
        with mmap.mmap(self._source, size, prot=mmap.PROT_READ) as source:
            self._data = source.read()
        with decoder_faults(self._form, self._data), _memory_limit(_HEADER_MEMORY):
            with loading():
                _tame(self._form)
            self._picture = open_picture(self._form, self._data, accept_truncated=request["accept_truncated"])
            return {"header": asdict(self._picture.header)}

    def read(self, request: dict[str, Any]) -> dict[str, Any]:
        """Decode the open picture into the target file."""
        height, width, channels = request["read"]
        picture, self._picture = self._picture, None
        assert picture is not None
        size = height * width * channels
        if os.fstat(self._target).st_size < size:
            os.ftruncate(self._target, size)
        # The map closes with its last array: an error that is being raised still holds one.
        frame = np.frombuffer(mmap.mmap(self._target, size), np.uint8).reshape(height, width, channels)
        with decoder_faults(self._form, self._data), _memory_limit(_HEADER_MEMORY + _PIXEL_MEMORY * height * width):
            return {"warning": picture.read_into(frame)}


def _tame(form: ImageFormat) -> None:
    """Limit a reader to one thread and lift Pillow's size limit; the worker checks the size itself."""
    match form:
        case ImageFormat.JPEG | ImageFormat.RAW:
            return
        case ImageFormat.HEIF:
            from pillow_heif import options  # noqa: PLC0415  # only for such a photo

            options.DECODE_THREADS = 1
            options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
        case ImageFormat.AVIF:
            from PIL import AvifImagePlugin  # noqa: PLC0415  # only for such a photo

            AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        case ImageFormat.JXL:
            from pillow_jxl import JpegXLImagePlugin  # noqa: PLC0415  # only for such a photo

            JpegXLImagePlugin.DECODE_THREADS = 0
        case _:
            pass
    from PIL import Image  # noqa: PLC0415  # not needed by every format

    Image.MAX_IMAGE_PIXELS = None


@contextmanager
def _memory_limit(more: int) -> Iterator[None]:
    """Limit the growth of the process, against forged files; has no effect if its present size is unknown."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * mmap.PAGESIZE
    except OSError:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = now + more if hard == resource.RLIM_INFINITY else min(now + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
