"""Make picture files for tests."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth picture with four different corners, so that a rotation or a swap of colours shows."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    red, green = 255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1)
    blue = 128 + 100 * np.sin(x / 9) * np.cos(y / 7)
    return Image.fromarray(np.stack((red, green, blue), axis=2).astype(np.uint8))


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    """An image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif_block(orientation: int, *, order: str = "<", before: tuple[bytes, ...] = ()) -> bytes:
    """A TIFF block with one directory that holds `before` and an orientation."""
    entries = [*before, struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)]
    start = b"II*\0" if order == "<" else b"MM\0*"
    return start + struct.pack(order + "IH", 8, len(entries)) + b"".join(entries) + bytes(4)


def with_segments(jpeg: bytes, *segments: tuple[int, bytes]) -> bytes:
    """A JPEG file with marker segments inserted at its beginning."""
    made = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return jpeg[:2] + made + jpeg[2:]


def with_exif(jpeg: bytes, orientation: int, *, order: str = "<") -> bytes:
    """A JPEG file with an orientation."""
    return with_segments(jpeg, (0xE1, b"Exif\0\0" + exif_block(orientation, order=order)))


def sampled(jpeg: bytes) -> bytes:
    """A JPEG file of another picture, with sampling factors of 2x2, 2x1 and 1x1, which have no name."""
    at = jpeg.index(b"\xff\xc0") + 10
    return jpeg[: at + 4] + b"\x21" + jpeg[at + 5 :]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG file of raw rows, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """The stored pixels as a viewer shows them, by the EXIF standard's table of where row 0 and column 0 are."""
    table = {
        1: pixels,
        2: np.fliplr(pixels),
        3: np.rot90(pixels, 2),
        4: np.flipud(pixels),
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, -1),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels, 1),
    }
    return table[orientation]


class TiffFile:
    """A TIFF file that grows by data and directories; little-endian and classic unless told otherwise."""

    SIZES: ClassVar = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 7: "B", 10: "ii", 13: "I", 16: "Q"}

    def __init__(self, order: str = "<", *, big: bool = False) -> None:
        self._order, self._big = order, big
        mark = b"II" if order == "<" else b"MM"
        self._bytes = bytearray(
            mark + struct.pack(order + ("HHHQ" if big else "HI"), *((43, 8, 0, 0) if big else (42, 0)))
        )

    def put(self, data: bytes) -> int:
        """Append data and return its offset."""
        at = len(self._bytes)
        self._bytes += data + bytes(len(data) % 2)
        return at

    def directory(self, entries: dict[int, tuple[int, Sequence[int]]], following: int = 0) -> int:
        """Append a directory of tags, each with its type and values (rationals as pairs), and return its offset."""
        made, order, word = b"", self._order, "Q" if self._big else "I"
        room = struct.calcsize(order + word)
        for tag, (kind, values) in sorted(entries.items()):
            code = self.SIZES[kind]
            packed = struct.pack(order + code * (len(values) // len(code)), *values)
            field = packed.ljust(room, b"\0") if len(packed) <= room else struct.pack(order + word, self.put(packed))
            made += struct.pack(order + "HH" + word, tag, kind, len(values) // len(code)) + field
        return self.put(
            struct.pack(order + ("Q" if self._big else "H"), len(entries)) + made + struct.pack(order + word, following)
        )

    def finish(self, first: int) -> bytes:
        """The file, beginning with the directory at `first`."""
        at = 8 if self._big else 4
        place = struct.pack(self._order + ("Q" if self._big else "I"), first)
        return bytes(self._bytes[:at] + place + self._bytes[at + len(place) :])


def photoshop(
    kind: tuple[int, int],
    planes: Sequence[bytes],
    size: tuple[int, int],
    *,
    palette: bytes = b"",
    packing: bytes = b"\0\0",
) -> bytes:
    """A PSD file of a mode and bits: the flattened picture, and resources and layers that must be skipped.

    `packing` is its number and the lengths of rows.
    """
    mode, bits = kind
    head = struct.pack(">4sH6xHIIHH", b"8BPS", 1, len(planes), size[1], size[0], bits, mode)
    sections = (
        struct.pack(">I", len(palette)) + palette + struct.pack(">I", 5) + bytes(5) + struct.pack(">I", 4) + bytes(4)
    )
    return head + sections + packing + b"".join(planes)


def tiled_tiff(picture: Image.Image, side: int) -> bytes:
    """A TIFF file of square tiles; the picture's sides are multiples of theirs."""
    pixels, file = np.asarray(picture), TiffFile()
    corners = [(y, x) for y in range(0, picture.height, side) for x in range(0, picture.width, side)]
    offsets = [file.put(pixels[y : y + side, x : x + side].tobytes()) for y, x in corners]
    entries = {
        256: (4, [picture.width]),
        257: (4, [picture.height]),
        258: (3, [8] * 3),
        259: (3, [1]),
        262: (3, [2]),
        277: (3, [3]),
    }
    tiles = {322: (4, [side]), 323: (4, [side]), 324: (4, offsets), 325: (4, [side * side * 3] * len(corners))}
    return file.finish(file.directory(entries | tiles))


def raw_file(picture: Image.Image, preview: bytes | None, *, orientation: int = 1) -> bytes:
    """A DNG as cameras write it: a thumbnail, then the sensor's values and, if given, a JPEG preview of its size."""
    pixels, file = np.asarray(picture), TiffFile()
    mosaic = np.empty(pixels.shape[:2], "<u2")
    for y, x, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
        mosaic[y::2, x::2] = pixels[y::2, x::2, channel].astype(np.uint16) * 256
    size = {256: (4, [picture.width]), 257: (4, [picture.height])}
    sensor = {
        254: (4, [0]),
        258: (3, [16]),
        259: (3, [1]),
        262: (3, [32803]),
        273: (4, [file.put(mosaic.tobytes())]),
        277: (3, [1]),
    }
    layout = {278: (4, [picture.height]), 279: (4, [mosaic.nbytes]), 33421: (3, [2, 2]), 33422: (1, [0, 1, 1, 2])}
    below = [file.directory(size | sensor | layout)]
    if preview is not None:
        shown = {
            254: (4, [1]),
            258: (3, [8] * 3),
            259: (3, [7]),
            262: (3, [6]),
            273: (4, [file.put(preview)]),
            277: (3, [3]),
        }
        below.append(file.directory(size | shown | {278: (4, [picture.height]), 279: (4, [len(preview)])}))
    small = np.asarray(picture.resize((16, 16))).tobytes()
    first = {
        254: (4, [1]),
        256: (4, [16]),
        257: (4, [16]),
        258: (3, [8] * 3),
        259: (3, [1]),
        262: (3, [2]),
        273: (4, [file.put(small)]),
    }
    rest = {274: (3, [orientation]), 277: (3, [3]), 278: (4, [16]), 279: (4, [len(small)]), 330: (4, below)}
    matrix = [1, 1, 0, 1, 0, 1, 0, 1, 1, 1, 0, 1, 0, 1, 0, 1, 1, 1]
    camera = {
        271: (2, [*b"Test\0"]),
        272: (2, [*b"Camera\0"]),
        50706: (1, [1, 4, 0, 0]),
        50721: (10, matrix),
        50728: (5, [1, 1] * 3),
        50778: (3, [21]),
    }
    return file.finish(file.directory(first | rest | camera))
