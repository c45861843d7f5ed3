"""Many faces at once, read column by column and each held against its checksum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from facecli.store.catalog.rows import FaceRow, are_unit, read_all_landmarks, read_boxes, read_codes
from facecli.store.catalog.sets import Row
from facecli.types import FoundBy

Types = frozenset[type]
INT, BYTES, INT_OR_NULL = Types((int,)), Types((bytes,)), Types((int, type(None)))
FACE_COLUMNS = "f.photo_id, f.face_id, f.box, f.score, f.found_by, f.landmarks, f.checksum, e.embedding"
FACE_TYPES = (INT, INT, BYTES, Types((float,)), INT, BYTES, INT, BYTES)
"""The types of FACE_COLUMNS."""
_PASSES = frozenset(FoundBy)


def typed_columns(rows: Sequence[Row], types: Sequence[Types]) -> Iterator[tuple[Any, ...]]:
    """The columns of rows; raises TypeError where a value is not of its column's type."""
    for column, wanted in zip(zip(*rows, strict=True) if rows else [()] * len(types), types, strict=True):
        if not wanted.issuperset(map(type, column)):
            raise TypeError("a value of another type")
        yield column


def read_faces(columns: Sequence[tuple[Any, ...]], dimension: int) -> list[FaceRow]:
    """Read FACE_COLUMNS with embeddings of a dimension; raises ValueError where a face is not as it was written."""
    photos, ids, boxes, scores, passes, marks, checksums, codes = columns
    numbers = np.concatenate([read_boxes(boxes).ravel(), read_all_landmarks(marks).ravel()])
    if not (np.abs(numbers) < 1e38).all() or not np.isfinite(np.array(scores)).all() or not _PASSES.issuperset(passes):
        raise ValueError("not the numbers of a face")
    if not are_unit(read_codes(codes, dimension)).all():
        raise ValueError("not an embedding")
    faces = list(map(FaceRow, boxes, scores, passes, marks, codes))
    if tuple(map(FaceRow.checksum, faces, ids, photos)) != checksums:
        raise ValueError("not the face that was written")
    return faces
