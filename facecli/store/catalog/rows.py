"""Between rows of the catalogue and records: the blobs of a face, and the checksums that each face and photo carries."""

from __future__ import annotations

import struct
from typing import TypeVar

import numpy as np
import xxhash
from msgspec import Struct
from numpy.typing import NDArray

from facecli.store.vector_file import Codes
from facecli.types import Box, FloatArray, IndexedPhoto

DIGEST_SIZE = 16
_BOX, _LANDMARKS = struct.Struct("<4f"), struct.Struct("<10f")
_FACE, _PHOTO = struct.Struct("<qqdq"), struct.Struct("<qqqqqq")
_MOST = 1e38
_MOST_COUNTED = 1 << 40
_NEARLY_ONE = 0.05
"""How far the squared length of an embedding may be from 1; 16 bits for each number take it to 0.002."""
Numbers = TypeVar("Numbers", bound=tuple[float, ...])


class FaceRow(Struct, frozen=True):
    """A face as it is stored, without its id and place."""

    box: bytes
    score: float
    found_by: int
    landmarks: bytes
    embedding: bytes

    def checksum(self, face_id: int, photo_id: int) -> int:
        """A signed 64-bit checksum over all that the face is."""
        head = _FACE.pack(face_id, photo_id, self.score, self.found_by)
        return _signed(head + self.box + self.landmarks + self.embedding)


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
    """A signed 64-bit checksum over all that a photo is; `numbers` are set, size, mtime_ns, width and height."""
    return _signed(_PHOTO.pack(photo_id, *numbers) + digest + path)


def read_box(blob: bytes) -> Box:
    """x1, y1, x2, y2; raises struct.error on anything but 16 bytes, ValueError on what is no number."""
    return _finite(_BOX.unpack(blob))


def pack_box(box: Box) -> bytes:
    """The blob of a box."""
    return _BOX.pack(*box)


def read_landmarks(blob: bytes) -> FloatArray:
    """float32 (5, 2); raises struct.error on anything but 40 bytes, ValueError on what is no number."""
    return np.array(_finite(_LANDMARKS.unpack(blob)), np.float32).reshape(5, 2)


def _finite(numbers: Numbers) -> Numbers:
    """The numbers, each one that a float32 holds with room to reckon."""
    if not all(abs(number) < _MOST for number in numbers):
        raise ValueError("a number out of bounds")
    return numbers


def read_codes(blobs: list[bytes], dimension: int) -> Codes:
    """float16 (n, d); raises ValueError where a blob has another length."""
    if any(len(blob) != 2 * dimension for blob in blobs):
        raise ValueError("an embedding of another length")
    return np.frombuffer(b"".join(blobs), "<f2").reshape(len(blobs), dimension)


def are_unit(codes: Codes) -> NDArray[np.bool_]:
    """Which of some codes (n, d) are of unit length, as all embeddings are: longer ones would be similar to everything."""
    wide = codes.astype(np.float32)
    squared: NDArray[np.float32] = np.einsum("nd,nd->n", wide, wide)
    return np.abs(squared - 1) < _NEARLY_ONE


def read_boxes(blobs: list[bytes]) -> FloatArray:
    """float32 (n, 4), in which damage may have left no number; raises struct.error where a blob has another length than 16."""
    return np.array([_BOX.unpack(blob) for blob in blobs], np.float32).reshape(len(blobs), 4)


def as_bytes(value: object) -> bytes:
    """A value of a row that must be bytes."""
    if not isinstance(value, bytes):
        raise TypeError("no bytes")
    return value


def as_int(value: object) -> int:
    """A value of a row that must be a whole number."""
    if not isinstance(value, int):
        raise TypeError("no whole number")
    return value


def as_count(value: object) -> int:
    """A value of a row that counts something, brought into the bounds of what can be counted."""
    return min(max(0, as_int(value)), _MOST_COUNTED)


def as_float(value: object) -> float:
    """A value of a row that must be a number, and one that a float32 can hold."""
    if not isinstance(value, int | float):
        raise TypeError("no number")
    if not abs(value) < _MOST:
        raise ValueError("a number out of bounds")
    return float(value)


def _signed(data: bytes) -> int:
    return int.from_bytes(xxhash.xxh3_64_digest(data), "big", signed=True)
