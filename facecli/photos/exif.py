"""Read the first directory of a TIFF structure, which EXIF is too, with bounds checks."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_ORIENTATION = 0x0112


def orientation_of_exif(tiff: bytes) -> int | None:
    """The orientation, 1 to 8, in an EXIF block that begins with the byte order; None if it has none."""
    for tag, value in _first_directory(tiff):
        if tag == _ORIENTATION:
            return value if 1 <= value <= 8 else 1
    return None


def _first_directory(tiff: bytes) -> Iterator[tuple[int, int]]:
    """Each tag with the first two bytes of its value, read as a short whatever its type says, as OpenCV does."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        tag, value = struct.unpack_from(order + "H6xH", tiff, at)
        yield tag, value
