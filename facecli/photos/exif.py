"""The orientation in an EXIF block, found in a bounds-checked walk."""

from __future__ import annotations

import struct

_TAG = 0x0112


def orientation_of_exif(tiff: bytes) -> int | None:
    """The orientation, 1 to 8, in the first directory of an EXIF block; None where it has none.

    `tiff` begins with the byte order, `II` or `MM`. The value's first two bytes are read as a short whatever type is claimed, as OpenCV does.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None or len(tiff) < 8:
        return None
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (count,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, min(start + 2 + 12 * count, len(tiff) - 11), 12):
        if struct.unpack_from(order + "H", tiff, at)[0] == _TAG:
            (value,) = struct.unpack_from(order + "H", tiff, at + 8)
            return int(value) if 1 <= value <= 8 else 1
    return None
