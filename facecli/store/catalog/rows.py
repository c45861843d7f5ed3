"""Convert between rows of the catalogue and records: the blobs of a face, the checksums of faces and photos."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import TypeGuard, TypeVar

import numpy as np
import xxhash
from msgspec import Struct
from msgspec.structs import astuple
from numpy.typing import NDArray

from facecli.captures import LONGEST_NAME, Capture, is_time
from facecli.store.vector_file import Codes
from facecli.types import Box, FloatArray, IndexedPhoto, PhotoFile

DIGEST_SIZE = 16
_BOX, _LANDMARKS = struct.Struct("<4f"), struct.Struct("<10f")
_FACE, _PHOTO = struct.Struct("<qqdq"), struct.Struct("<qqqqqq")
_MOST = 1e38
_MOST_COUNTED = 1 << 40
_UNIT_ROWS = 128
"""Embeddings whose lengths are computed at once: few enough to stay in the processor's cache."""
_NEARLY_ONE = 0.05
"""How far the squared length of an embedding may be from 1; rounding to float16 alone moves it by up to 0.002."""
Numbers = TypeVar("Numbers", bound=tuple[float, ...])


class FaceRow(Struct, frozen=True, gc=False):
    """A face as it is stored, without its id and slot."""

    box: bytes
    score: float
    found_by: int
    landmarks: bytes
    embedding: bytes

    def checksum(self, face_id: int, photo_id: int) -> int:
        """A signed 64-bit checksum (XXH3) over all fields, the id and the photo's id."""
        head = _FACE.pack(face_id, photo_id, self.score, self.found_by)
        return _signed(head + self.box + self.landmarks + self.embedding)


class PhotoRow(Struct, frozen=True):
    """A photo and its faces as they are stored, without their ids."""

    file: PhotoFile
    digest: bytes
    width: int
    height: int
    faces: list[FaceRow]
    capture: Capture | None = None
    """None where nobody has looked."""


def photo_row(photo: IndexedPhoto) -> PhotoRow:
    """A photo and its faces as rows."""
    return PhotoRow(photo.file, photo.digest, photo.width, photo.height, face_rows(photo), photo.capture)


CAPTURE = ("looked", "taken_ms", "offset_minutes", "latitude", "longitude", "make", "model")
"""The columns of a capture; the first is the version of what read it."""
LOOKED = 1
"""Incremented when the same file gives another capture, so that it is read again."""
_MOST_OFFSET = 15 * 60


def capture_values(capture: Capture | None) -> tuple[object, ...]:
    """The values of CAPTURE."""
    return (None,) * len(CAPTURE) if capture is None else (LOOKED, *astuple(capture))


def read_capture(values: Sequence[object]) -> Capture | None:
    """Read the values of CAPTURE; None where nobody has looked, and nothing where a value cannot be true."""
    looked, taken, offset, latitude, longitude, make, model = values
    if looked is None:
        return None
    if not (_is_degrees(latitude, 90) and _is_degrees(longitude, 180)):
        latitude = longitude = None
    return Capture(
        taken if isinstance(taken, int) and is_time(taken) else None,
        offset if isinstance(offset, int) and abs(offset) <= _MOST_OFFSET else None,
        latitude,
        longitude,
        make[:LONGEST_NAME] if isinstance(make, str) else "",
        model[:LONGEST_NAME] if isinstance(model, str) else "",
    )


def _is_degrees(value: object, most: int) -> TypeGuard[float]:
    return isinstance(value, float) and abs(value) <= most


def face_rows(photo: IndexedPhoto) -> list[FaceRow]:
    """The faces of a photo as rows."""
    found = photo.detections
    boxes, marks = np.ascontiguousarray(found.boxes, "<f4"), np.ascontiguousarray(found.landmarks, "<f4")
    codes = np.ascontiguousarray(photo.embeddings, "<f2")
    return [
        FaceRow(
            boxes[i].tobytes(), float(found.scores[i]), int(found.found_by[i]), marks[i].tobytes(), codes[i].tobytes()
        )
        for i in range(len(found))
    ]


def photo_checksum(photo_id: int, digest: bytes, path: bytes, *numbers: int) -> int:
    """A signed 64-bit checksum (XXH3) over a photo; `numbers` are set, size, mtime_ns, width and height."""
    return _signed(_PHOTO.pack(photo_id, *numbers) + digest + path)


def read_box(blob: bytes) -> Box:
    """Read a box x1, y1, x2, y2 in pixels.

    Raises struct.error unless the blob has 16 bytes, ValueError for a NaN, an infinity or a number of 1e38 and above.
    """
    return _finite(_BOX.unpack(blob))


def pack_box(box: Box) -> bytes:
    """Return the blob of a box."""
    return _BOX.pack(*box)


def read_landmarks(blob: bytes) -> FloatArray:
    """Read landmarks as float32 (5, 2): x, y in pixels.

    Raises struct.error unless the blob has 40 bytes, ValueError for a NaN, an infinity or a number of 1e38 and above.
    """
    return np.array(_finite(_LANDMARKS.unpack(blob)), np.float32).reshape(5, 2)


def _finite(numbers: Numbers) -> Numbers:
    """Return the numbers; raises ValueError unless float32 holds each of them with room for arithmetic."""
    if not all(abs(number) < _MOST for number in numbers):
        raise ValueError("a number out of bounds")
    return numbers


def read_codes(blobs: Sequence[bytes], dimension: int) -> Codes:
    """Read embeddings as float16 (n, `dimension`); raises ValueError where a blob has another length."""
    if not {2 * dimension}.issuperset(map(len, blobs)):
        raise ValueError("an embedding of another length")
    return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), dimension)


def are_unit(codes: Codes) -> NDArray[np.bool_]:
    """Return bool (n,): which codes, float16 (n, d), have unit length.

    All embeddings do; a longer one would be similar to everything.
    """
    bits = codes.view("<u2")
    squared = np.empty(len(bits), np.float32)
    for first in range(0, len(bits), _UNIT_ROWS):
        squared[first : first + _UNIT_ROWS] = np.take(_squares(), bits[first : first + _UNIT_ROWS]).sum(axis=1)
    return np.abs(squared - 1) < _NEARLY_ONE


@cache
def _squares() -> NDArray[np.float32]:
    """The square of every float16 by its bits: a quarter of the time of converting the numbers."""
    numbers = np.arange(1 << 16, dtype="<u2").view("<f2").astype(np.float32)
    with np.errstate(invalid="ignore"):
        return numbers * numbers


def read_boxes(blobs: Sequence[bytes]) -> FloatArray:
    """Read boxes as float32 (n, 4): x1, y1, x2, y2 in pixels; damaged ones may hold NaN or infinity.

    Raises ValueError where a blob does not have 16 bytes.
    """
    return _read_numbers(blobs, _BOX.size).reshape(len(blobs), 4)


def read_all_landmarks(blobs: Sequence[bytes]) -> FloatArray:
    """Read landmarks as float32 (n, 5, 2): x, y in pixels; damaged ones may hold NaN or infinity.

    Raises ValueError where a blob does not have 40 bytes.
    """
    return _read_numbers(blobs, _LANDMARKS.size).reshape(len(blobs), 5, 2)


def _read_numbers(blobs: Sequence[bytes], size: int) -> FloatArray:
    if not {size}.issuperset(map(len, blobs)):
        raise ValueError("a blob of another length")
    return np.frombuffer(b"".join(blobs), "<f4").astype(np.float32)


def as_bytes(value: object) -> bytes:
    """Return a value that must be bytes; raises TypeError otherwise."""
    if not isinstance(value, bytes):
        raise TypeError("not bytes")
    return value


def as_int(value: object) -> int:
    """Return a value that must be an integer; raises TypeError otherwise."""
    if not isinstance(value, int):
        raise TypeError("not an integer")
    return value


def as_count(value: object) -> int:
    """Return a count, clipped to 0 to 2^40; raises TypeError where it is not an integer."""
    return min(max(0, as_int(value)), _MOST_COUNTED)


def as_float(value: object) -> float:
    """Return a value that must be a number; raises TypeError otherwise, ValueError from 1e38 on."""
    if not isinstance(value, int | float):
        raise TypeError("not a number")
    if not abs(value) < _MOST:
        raise ValueError("a number out of bounds")
    return float(value)


def _signed(data: bytes) -> int:
    number = xxhash.xxh3_64_intdigest(data)
    return number - (number >> 63 << 64)
