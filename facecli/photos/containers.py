"""Sizes, orientation and completeness of PNG, WebP and other files, read before a decoder sees them."""

from __future__ import annotations

import re

from msgspec import Struct

from facecli.photos.exif import orientation_of_exif
from facecli.photos.refusal import Refusal, unreadable, unsupported
from facecli.photos.sniff import ImageFormat
from facecli.types import SkipReason

_PNG_START = b"\x89PNG\r\n\x1a\n"
_PICTURE_CHUNKS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_MOST_CHUNKS = 500_000
_QOI_HEADER = 14
_ONLY_NUMBERS = re.compile(rb"P[1-6](?:[\s\d]|#[^\n]*)*")
"""A PNM file that ends in its header, or a plain-text PNM file, which may end anywhere."""


class PngOutline(Struct, frozen=True):
    """The properties of a PNG file, from its chunks."""

    width: int
    height: int
    orientation: int
    depth: int
    """Bits per sample."""
    colours: int
    """0 gray, 2 RGB, 3 palette, 4 gray and alpha, 6 RGBA."""
    keyed: bool
    """Whether one colour is marked as transparent (tRNS)."""
    complete: bool
    """Whether the file has its end chunk (IEND)."""
    picture: bytes
    """The file with only the chunks of the picture: Pillow reads, warns about or refuses texts, profiles and further
    frames."""


def outline_png(data: bytes) -> PngOutline:
    """Read the chunks of a PNG file; raises Refusal if its header is missing, broken or not supported."""
    if len(data) < 33:
        raise Refusal(SkipReason.TRUNCATED, "the PNG file ends in its header")
    if data[12:16] == b"CgBI":
        raise unsupported("PNG as Apple makes them for apps (CgBI)")
    if data[12:16] != b"IHDR":
        raise unreadable("PNG without a header chunk")
    orientation, keyed, complete, at = 1, False, False, len(_PNG_START)
    kept = [(0, at)]
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data) or complete:
            break
        kind, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if kind == b"eXIf":
            orientation = orientation_of_exif(data[at + 8 : end - 4]) or 1
        if kind in _PICTURE_CHUNKS:
            if kept[-1][1] == at:
                kept[-1] = (kept[-1][0], end)
            else:
                kept.append((at, end))
        keyed |= kind == b"tRNS"
        complete = kind == b"IEND" and end <= len(data)
        at = end
    else:
        raise unreadable("PNG of too many chunks")
    whole = kept[0][1] >= len(data)
    picture = data if whole else b"".join(data[start:end] for start, end in kept)
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    return PngOutline(width, height, orientation, data[24], data[25], keyed, complete, picture)


_BMP_PACKINGS = {4: "JPEG", 5: "PNG", 11: "CMYK", 12: "CMYK and run lengths", 13: "CMYK and run lengths"}


def unread_bmp(data: bytes) -> str:
    """The kind of a BMP file that is not supported, for a message; empty if it is supported."""
    if data[14:18] == b"\x0c\0\0\0":
        return ""
    bits, packing = int.from_bytes(data[28:30], "little"), int.from_bytes(data[30:34], "little")
    if packing in _BMP_PACKINGS:
        return f"BMP that holds {_BMP_PACKINGS[packing]}"
    if data[14] == 64 and packing == 3:
        return "BMP compressed by Huffman codes"
    return f"BMP of {bits} bits a pixel" if bits in (2, 64) else ""


class WebpOutline(Struct, frozen=True):
    """The size and orientation of a WebP file, from its chunks."""

    width: int
    height: int
    orientation: int


def outline_webp(data: bytes) -> WebpOutline:
    """Read the chunks of a WebP file without its decoder, which would allocate the whole canvas.

    Raises Refusal if the header is missing or broken.
    """
    if len(data) < 30:
        raise Refusal(SkipReason.TRUNCATED, "the WebP file ends in its header")
    width, height = _webp_size(data)
    at = 12
    for _ in range(_MOST_CHUNKS):
        kind, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if kind == b"EXIF":
            exif = data[at + 8 : at + 8 + size].removeprefix(b"Exif\0\0")
            return WebpOutline(width, height, orientation_of_exif(exif) or 1)
        at += 8 + size + size % 2
        if at + 8 > len(data):
            break
    return WebpOutline(width, height, 1)


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    raise unreadable("WebP without a picture header")


def ends_early(form: ImageFormat, data: bytes) -> bool:
    """Whether a file is shorter than its own structure says."""
    early = False
    match form:
        case ImageFormat.PNG:
            early = not outline_png(data).complete
        case ImageFormat.WEBP:
            early = len(data) < int.from_bytes(data[4:8], "little") + 8
        case ImageFormat.BMP:
            early = len(data) < int.from_bytes(data[2:6], "little")
        case ImageFormat.TIFF if 43 not in data[2:4]:
            early = len(data) < int.from_bytes(data[4:8], "little" if data[:2] == b"II" else "big") + 2
        case ImageFormat.JP2 if data.startswith(b"\xff\x4f"):  # a bare codestream
            early = not data.rstrip(b"\0").endswith(b"\xff\xd9")
        case ImageFormat.QOI:
            early = len(data) < _QOI_HEADER
        case ImageFormat.PNM:
            early = bool(_ONLY_NUMBERS.fullmatch(data))
        case ImageFormat.GIF:
            early = not data.rstrip(b"\0").endswith(b";")
        case ImageFormat.AVIF | ImageFormat.HEIF | ImageFormat.JXL | ImageFormat.JP2 | ImageFormat.RAW:
            early = _boxes_end_early(data)
        case _:
            pass
    return early


def _boxes_end_early(data: bytes) -> bool:
    """Whether an ISO base media file ends within a box."""
    if data[4:8] not in (b"ftyp", b"JXL ", b"jP  "):
        return False
    at = 0
    for boxes in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            return at != len(data) or boxes == 1  # the first box holds only the file type
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        elif size == 0:
            return False
        if size < 8:
            return False
        at += size
    return False
