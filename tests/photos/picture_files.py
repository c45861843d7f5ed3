"""Files of pictures, made for tests."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A smooth picture in which no two corners are alike, so that a turn or a swap of colours shows."""
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
    """A JPEG file with marker segments put in at its beginning."""
    made = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return jpeg[:2] + made + jpeg[2:]


def with_exif(jpeg: bytes, orientation: int, *, order: str = "<") -> bytes:
    """A JPEG file with an orientation."""
    return with_segments(jpeg, (0xE1, b"Exif\0\0" + exif_block(orientation, order=order)))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(width: int, height: int, rows: bytes, *, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG file of raw rows, each with its filter byte."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """What a viewer shows of stored pixels, by the table of the EXIF standard: where row 0 and column 0 of the stored picture lie."""
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
