"""Sort faces into people: the types, and the one call.

Groups are derived: the same faces and decisions give the same groups, in whatever order they come. Nothing here reads
or writes an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.similarity.codes import HalfArray, RowNumbers
from facecli.types import FloatArray

NOBODY = -1


class Faces(Struct, frozen=True, eq=False):
    """The faces to group, one a row, in any order."""

    face_ids: RowNumbers
    """int64 (n,), each once."""
    contents: RowNumbers
    """int64 (n,): a number for the content of each face's photo, the same for copies of a photo and from call to call:
    eight bytes of its digest."""
    boxes: FloatArray
    """float32 (n, 4): x1, y1, x2, y2 in pixels of the upright photo. Faces with one content and one box are copies."""
    scores: FloatArray
    """float32 (n,): the detector's."""
    codes: HalfArray
    """float16 (n, d): embeddings of unit length, as stored."""


class Decisions(Struct, frozen=True):
    """What the user decided.

    An owner is any number of 0 or more that stands for one person: one that was named, merged or split off.
    """

    owners: Sequence[tuple[int, int]] = ()
    """(face id, owner): the face is this owner's. Faces of one owner are one person, even of one photo; those of two
    never are. A face id that is not among the faces is ignored; of two owners of a face or its copies the last counts.
    """
    refused: Sequence[tuple[int, int]] = ()
    """(face id, owner): the face is not this owner's, whatever else it is."""


class Why(IntEnum):
    """What put a face into its person."""

    NOTHING = 0
    """It is in none."""
    LINKS = 1
    """The similarity to the other faces, on average."""
    CENTROIDS = 2
    """Its people were merged, since their centroids are close."""
    ATTACHED = 3
    """It was alone, and is close to the person's centroid."""
    USER = 4
    """A decision."""


class Suggestion(Struct, frozen=True):
    """Two people who may be one; never merged without a decision."""

    person: int
    other: int
    """Rows of `People.owners`, the larger person first."""
    similarity: float
    """The cosine of their centroids."""


class People(Struct, frozen=True, eq=False):
    """The groups."""

    person: RowNumbers
    """int64 (n,), a row of `owners` for each face; NOBODY for a face alone. Copies of a face have its person. People
    are numbered by falling number of faces (copies count), then by their lowest face id."""
    why: NDArray[np.uint8]
    """uint8 (n,): a `Why` for each face."""
    similarity: FloatArray
    """float32 (n,): the cosine of each face to its person's centroid; NaN for NOBODY."""
    owners: RowNumbers
    """int64 (p,): the owner of each person, NOBODY for a person without."""
    cohesion: FloatArray
    """float32 (p,): the mean cosine of the pairs of faces of each person, without copies and without the faces that are
    too small to judge; 1 for a single face."""
    covers: RowNumbers
    """int64 (p,): the id of a typical, large face of each person."""
    suggestions: tuple[Suggestion, ...]
    """By falling similarity."""


class Limits(Struct, frozen=True):
    """The similarities (cosines) that grouping works with. They belong to a recogniser; see docs/people.md."""

    link: float
    """The least mean similarity of two large clusters that merge."""
    small: float
    """How much more two faces need, and half of that a face and a large cluster."""
    merge: float
    """The least similarity of the centroids of two people of three faces or more that merge."""
    attach: float
    """The least similarity of a single face to the centroid of a person that it joins."""
    margin: float
    """How much less similar the centroid of the next person must be."""
    suggest: float
    """The least similarity of the centroids of two people that a suggestion names."""


class Edges(Struct, frozen=True, eq=False):
    """The most similar faces of each face; derived from the codes, and kept only to save time."""

    face_ids: RowNumbers
    """int64 (n,), rising: the faces that took part."""
    digests: NDArray[np.uint64]
    """uint64 (n,): XXH3-64 of each one's code and content, so that edges of other embeddings are never used."""
    least: float
    """The similarity from which on pairs are edges."""
    starts: RowNumbers
    """int64 (n + 1,): the neighbours of row i are at starts[i] to starts[i + 1]."""
    others: NDArray[np.int32]
    """int32 (e,): rows."""
    similarities: FloatArray
    """float32 (e,): cosines, falling within a row."""


class Grouped(Struct, frozen=True, eq=False):
    """The people, and the edges to keep for the next call."""

    people: People
    edges: Edges
