"""The size and depth of a JPEG XL picture from its header; Pillow's plug-in would decode all pixels first.

ISO/IEC 18181-1: SizeHeader and the beginning of ImageMetadata.
"""

from __future__ import annotations

from msgspec import Struct

from facecli.photos.refusal import Refusal, unreadable, unsupported
from facecli.types import SkipReason

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE_BITS = (9, 13, 18, 30)
_MOST_BOXES = 10_000


class _Bits:
    """Reads numbers of a given number of bits, lowest bit first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


class JxlOutline(Struct, frozen=True):
    """The size and depth of a JPEG XL picture, from its header."""

    width: int
    """Of the picture as it is shown, that is, upright."""
    height: int
    bits: int
    """Bits per integer sample; 0 for floating-point samples."""


def outline_jxl(data: bytes) -> JxlOutline:
    """Read the header; raises Refusal if it is broken, cut off or not supported."""
    stream = _codestream(data)
    if len(stream) < 16:
        raise Refusal(SkipReason.TRUNCATED, "the JPEG XL file ends in its header")
    if not stream.startswith(b"\xff\x0a"):
        raise unreadable("JPEG XL without a codestream")
    bits = _Bits(stream[2:])
    small = bits.take(1)
    height = _side(bits, small=small)
    ratio = bits.take(3)
    width = height * _RATIOS[ratio - 1][0] // _RATIOS[ratio - 1][1] if ratio else _side(bits, small=small)
    if bits.take(1):  # default metadata
        return JxlOutline(width, height, 8)
    turned = bits.take(1) and _skip_extra(bits)
    depth = 0 if bits.take(1) else (8, 10, 12, 0)[bits.take(2)] or 1 + bits.take(6)
    return JxlOutline(height, width, depth) if turned else JxlOutline(width, height, depth)


def _skip_extra(bits: _Bits) -> bool:
    """Skip the fields before the depth; returns whether the orientation swaps width and height."""
    orientation = 1 + bits.take(3)
    if bits.take(1):  # intrinsic size
        _skip_size(bits)
    if bits.take(1):
        raise unsupported("JPEG XL with a preview")
    if bits.take(1):  # animation header
        for sizes in ((0, 0, 10, 30), (0, 0, 8, 10), (0, 3, 16, 32)):
            bits.take(sizes[bits.take(2)])
        bits.take(1)
    return orientation > 4


def _skip_size(bits: _Bits) -> None:
    small = bits.take(1)
    _side(bits, small=small)
    if not bits.take(3):
        _side(bits, small=small)


def _side(bits: _Bits, *, small: int) -> int:
    return 8 * (1 + bits.take(5)) if small else 1 + bits.take(_SIZE_BITS[bits.take(2)])


def _codestream(data: bytes) -> bytes:
    """The beginning of the codestream, whether bare or in a box."""
    if data[:2] == b"\xff\x0a":
        return data[:64]
    at = 0
    for _ in range(_MOST_BOXES):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = at + (16 if size == 1 else 8)
        if kind == b"jxlc":
            return data[body : body + 64]
        if kind == b"jxlp":
            return data[body + 4 : body + 68]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8 or at + size >= len(data):
            break
        at += size
    raise Refusal(SkipReason.TRUNCATED, "the JPEG XL file ends in its header")
