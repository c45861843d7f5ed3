"""Select the faces that groups are made of: one of all copies, and none that is too small or too doubtful to judge."""

from __future__ import annotations

import numpy as np
import xxhash
from msgspec import Struct
from numpy.typing import NDArray

from facecli.people.grouping import Faces
from facecli.similarity.codes import HalfArray, RowNumbers, pair_similarities

LEAST_SIDE = 24
"""Pixels of the shorter side of a face, below which blur looks like blur: it neither founds nor joins a person."""
LEAST_SCORE = 0.60
_UNIT = 0.02
"""How far the square of a length may be from 1."""


class Chosen(Struct, frozen=True, eq=False):
    """The faces that take part."""

    first: RowNumbers
    """int64 (n,): the row that stands for each face: the copy with the lowest id."""
    rows: RowNumbers
    """int64 (m,): the rows that take part, in an order that depends on their codes, not on their ids: the groups are
    the same whatever the order of indexing."""
    digests: NDArray[np.uint64]
    """uint64 (m,): see `Edges.digests`."""

    @property
    def places(self) -> RowNumbers:
        """int64 (n,): the place in `rows` of the face that stands for each; -1 where that takes no part."""
        out = np.full(len(self.first), -1, np.int64)
        out[self.rows] = np.arange(len(self.rows))
        return out[self.first]


def select_faces(faces: Faces) -> Chosen:
    """Choose the faces that take part."""
    first = _first_copies(faces)
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    good = (sides >= LEAST_SIDE) & (faces.scores >= LEAST_SCORE) & (first == np.arange(len(first)))
    rows = np.flatnonzero(good)
    rows = rows[_are_unit(faces.codes[rows])]
    digests = _digests(faces.codes[rows], faces.contents[rows])
    order = np.lexsort((faces.face_ids[rows], digests))
    return Chosen(first, rows[order], digests[order])


def _first_copies(faces: Faces) -> RowNumbers:
    """The row of the lowest face id with the content and box of each face."""
    order = np.lexsort((faces.face_ids, *faces.boxes.T, faces.contents))
    contents, boxes = faces.contents[order], faces.boxes[order]
    new = np.r_[True, (contents[1:] != contents[:-1]) | (boxes[1:] != boxes[:-1]).any(axis=1)][: len(order)]
    out = np.empty(len(order), np.int64)
    out[order] = order[np.flatnonzero(new)[np.cumsum(new) - 1]]
    return out


def _are_unit(codes: HalfArray) -> NDArray[np.bool_]:
    """Whether codes, float16 (n, d), are of unit length; others come from a damaged index, and mean nothing."""
    rows = np.arange(len(codes))
    finite = np.isfinite(codes).all(axis=1)
    return finite & (abs(pair_similarities((codes, rows), (codes, rows)) - 1) < _UNIT)


def _digests(codes: HalfArray, contents: RowNumbers) -> NDArray[np.uint64]:
    parts = zip(np.ascontiguousarray(codes), contents.astype("<i8"), strict=True)
    return np.array(
        [xxhash.xxh3_64_intdigest(code.tobytes() + content.tobytes()) for code, content in parts], np.uint64
    )
