"""Make TIFF files of every layout for tests, without a library."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray
from picture_files import Pixels, TiffFile

Entries = dict[int, tuple[int, Sequence[int]]]
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class TiffKind(Struct, frozen=True):
    """The layout of a picture."""

    bits: int = 8
    photometric: int = 2
    order: str = "<"
    big: bool = False
    separate: bool = False
    rows: int = 0
    """Rows per strip; 0 for all rows in one strip."""
    tile: tuple[int, int] = (0, 0)
    """Width and height."""
    reversed_bits: bool = False
    deflated: bool = False
    """With the horizontal predictor."""
    more: Entries = field(default_factory=dict)


def tiff_file(samples: NDArray[np.integer], kind: TiffKind) -> bytes:
    """An uncompressed TIFF file of (h, w, n) samples."""
    file = TiffFile(kind.order, big=kind.big)
    return file.finish(put_picture(file, samples, kind))


def put_picture(file: TiffFile, samples: NDArray[np.integer], kind: TiffKind, following: int = 0) -> int:
    """Append a picture and its directory, and return the directory's offset."""
    height, width, count = samples.shape
    tall, wide = (kind.tile[1], kind.tile[0]) if kind.tile[0] else (kind.rows or height, width)
    places, sizes = [], []
    for plane in np.split(samples, count, axis=2) if kind.separate else [samples]:
        for top in range(0, height, tall):
            for left in range(0, width, wide):
                chunk = full_tile(plane[top : top + tall, left : left + wide], kind)
                data = zlib.compress(packed(differences(chunk), kind)) if kind.deflated else packed(chunk, kind)
                places.append(file.put(data.translate(REVERSED) if kind.reversed_bits else data))
                sizes.append(len(data))
    entries: Entries = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [kind.bits] * count),
        259: (3, [1]),
        262: (3, [kind.photometric]),
    }
    entries |= {266: (3, [1 + kind.reversed_bits]), 277: (3, [count]), 284: (3, [1 + kind.separate])}
    if kind.deflated:
        entries |= {259: (3, [8]), 317: (3, [2])}
    if kind.tile[0]:
        entries |= {322: (4, [wide]), 323: (4, [tall]), 324: (4, places), 325: (4, sizes)}
    else:
        entries |= {273: (4, places), 278: (4, [tall]), 279: (4, sizes)}
    return file.directory(entries | kind.more, following)


def full_tile(samples: NDArray[np.integer], kind: TiffKind) -> NDArray[np.integer]:
    """A tile is stored in full even if the picture ends inside it."""
    if not kind.tile[0]:
        return samples
    below, beside = kind.tile[1] - samples.shape[0], kind.tile[0] - samples.shape[1]
    return np.pad(samples, ((0, below), (0, beside), (0, 0)))


def differences(samples: NDArray[np.integer]) -> NDArray[np.integer]:
    """Each pixel minus its left neighbour; negative values wrap around when they are packed."""
    return np.diff(samples.astype(np.int64), axis=1, prepend=0)


def packed(samples: NDArray[np.integer], kind: TiffKind) -> bytes:
    """The bytes of samples; each row begins at a whole byte."""
    if kind.bits in (8, 16):
        return samples.astype(f"{kind.order}u{kind.bits // 8}").tobytes()
    rows = samples.reshape(samples.shape[0], -1).astype(">u2")
    bits = np.unpackbits(rows.view(np.uint8).reshape(*rows.shape, 2), axis=2)[:, :, 16 - kind.bits :]
    return np.packbits(bits.reshape(rows.shape[0], -1), axis=1).tobytes()


def spread(samples: Pixels, bits: int) -> NDArray[np.integer]:
    """Convert 8-bit samples to a number of bits, from which the picture can be restored."""
    return (samples.astype(np.int64) * ((1 << bits) - 1) + 127) // 255


def subsampled(ycbcr: Pixels, across: int, down: int) -> bytes:
    """YCbCr in the units of TIFF 6.0: the luma of a block of pixels, then their shared Cb and Cr."""
    height, width = ycbcr.shape[:2]
    tall, wide = -(-height // down), -(-width // across)
    whole = np.pad(ycbcr, ((0, tall * down - height), (0, wide * across - width), (0, 0)), mode="edge")
    luma = whole[:, :, 0].reshape(tall, down, wide, across).transpose(0, 2, 1, 3).reshape(tall, wide, -1)
    colour = whole.reshape(tall, down, wide, across, 3).mean(axis=(1, 3))[:, :, 1:]
    return np.dstack((luma, colour)).astype(np.uint8).tobytes()


def file_of(data: bytes, size: tuple[int, int], entries: Entries) -> bytes:
    """A TIFF file of one strip of ready bytes."""
    file = TiffFile()
    place = file.put(data)
    own: Entries = {
        256: (4, [size[0]]),
        257: (4, [size[1]]),
        273: (4, [place]),
        278: (4, [size[1]]),
        279: (4, [len(data)]),
    }
    return file.finish(file.directory(own | entries))
