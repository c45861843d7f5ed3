"""JPEG 2000: read its header before Pillow does, and decode what Pillow reads wrongly: more than 8 bits per colour.

ISO/IEC 15444-1: the SIZ segment of the codestream (A.5.1) and the colour specification box (I.5.3.3).
"""

from __future__ import annotations

import struct

import numpy as np
from msgspec import Struct

from facecli.photos.picture import Header, Picture
from facecli.photos.raster import RasterPicture
from facecli.photos.refusal import Refusal, loading, unreadable, unsupported
from facecli.photos.sniff import ImageFormat
from facecli.types import ByteArray, SkipReason

_START = b"\xff\x4f\xff\x51"
_SIZES = struct.Struct(">HHIIIIIIIIH")
_SRGB = 16
_COST = 24
_MOST_BOXES = 1000


class _Kind(Struct, frozen=True):
    width: int
    height: int
    components: int
    bits: int
    """The highest number of bits of any component."""
    plain: bool
    """Whether all components are unsigned, of the same number of bits and of the picture's size."""

    @property
    def header(self) -> Header:
        return Header(self.width, self.height, cost=_COST)


def open_jp2(data: bytes) -> Picture:
    """Open a JP2 file or a bare codestream; raises Refusal if it is broken or not supported."""
    stream, colours = _find_stream(data)
    kind = _kind_of(stream)
    if kind.components > 4:
        raise unsupported(f"JPEG 2000 of {kind.components} components")
    if kind.bits > 16:
        raise unsupported(f"JPEG 2000 of {kind.bits} bits a sample")
    if kind.bits <= 8 or kind.components == 1:
        return RasterPicture(ImageFormat.JP2, data, kind.header)
    if not kind.plain or kind.components != 3 or colours not in (None, _SRGB):
        raise unsupported(f"JPEG 2000 of {kind.bits} bits a sample with opacity or unusual colours")
    return _DeepPicture(data, kind)


class _DeepPicture:
    """Three components of 9 to 16 bits, read by OpenCV: Pillow rounds nearly white pixels up to black."""

    def __init__(self, data: bytes, kind: _Kind) -> None:
        self._data, self._kind = data, kind
        self.header = kind.header

    def read_into(self, frame: ByteArray) -> str:
        """See `Picture`."""
        with loading():
            import cv2  # noqa: PLC0415  # rare
        pixels = cv2.imdecode(np.frombuffer(self._data, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.shape != frame.shape or pixels.dtype != np.uint16:
            raise unreadable("the JPEG 2000 file is broken")
        np.right_shift(pixels[:, :, ::-1], self._kind.bits - 8, out=frame, casting="unsafe")
        return ""


def _kind_of(stream: bytes) -> _Kind:
    at = len(_START)
    if not stream.startswith(_START):
        raise unreadable("JPEG 2000 without a codestream")
    if len(stream) < at + _SIZES.size:
        raise _ends_early()
    _, _, right, bottom, left, top, *_, count = _SIZES.unpack_from(stream, at)
    parts = stream[at + _SIZES.size : at + _SIZES.size + 3 * count]
    if len(parts) < 3 * count or not count:
        raise _ends_early()
    depths = set(parts[::3])
    plain = len(depths) == 1 and max(depths) < 128 and set(parts[1::3]) | set(parts[2::3]) == {1}
    if right <= left or bottom <= top:
        raise unreadable("JPEG 2000 without a size")
    return _Kind(right - left, bottom - top, count, max(depth & 127 for depth in depths) + 1, plain)


def _find_stream(data: bytes) -> tuple[bytes, int | None]:
    """The beginning of the codestream, with its sizes, and the number of the colour space in the boxes."""
    room = len(_START) + _SIZES.size + 3 * 16384
    if data.startswith(_START):
        return data[:room], None
    at, colours = 0, None
    for _ in range(_MOST_BOXES):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = at + (16 if size == 1 else 8)
        if kind == b"jp2c":
            return data[body : body + room], colours
        if kind == b"colr" and data[body : body + 1] == b"\1":
            colours = int.from_bytes(data[body + 3 : body + 7], "big")
        size = int.from_bytes(data[at + 8 : at + 16], "big") if size == 1 else size
        if kind == b"jp2h":
            size = body - at  # continue with the boxes inside it
        if size < 8 or at + size >= len(data):
            break
        at += size
    raise _ends_early()


def _ends_early() -> Refusal:
    return Refusal(SkipReason.TRUNCATED, "the end of the JPEG 2000 file is missing")
