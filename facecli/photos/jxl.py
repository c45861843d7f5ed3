"""The size of a JPEG XL picture, from its codestream's first bits: the plug-in for Pillow decodes all pixels before it tells.

ISO/IEC 18181-1: SizeHeader and the beginning of ImageMetadata.
"""

from __future__ import annotations

from facecli.photos.refusal import Refusal, unreadable
from facecli.types import SkipReason

_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIZE_BITS = (9, 13, 18, 30)
_MOST_BOXES = 10_000


class _Bits:
    """Reads numbers of some bits, the lowest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value


def jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height of the picture as it is shown."""
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
    plain = bits.take(1) or not bits.take(1)
    orientation = 1 if plain else 1 + bits.take(3)
    return (height, width) if orientation > 4 else (width, height)


def _side(bits: _Bits, *, small: int) -> int:
    return 8 * (1 + bits.take(5)) if small else 1 + bits.take(_SIZE_BITS[bits.take(2)])


def _codestream(data: bytes) -> bytes:
    """The beginning of the codestream, bare or in a box."""
    if data[:2] == b"\xff\x0a":
        return data[:32]
    at = 0
    for _ in range(_MOST_BOXES):
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        body = at + (16 if size == 1 else 8)
        if kind == b"jxlc":
            return data[body : body + 32]
        if kind == b"jxlp":
            return data[body + 4 : body + 36]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if size < 8 or at + size >= len(data):
            break
        at += size
    raise Refusal(SkipReason.TRUNCATED, "the JPEG XL file ends in its header")
