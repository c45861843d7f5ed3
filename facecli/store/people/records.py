"""Records of people: decisions with the faces that they are about, and members of groups."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.types import FloatArray

FaceKey: TypeAlias = tuple[bytes, bytes]
"""A face, whichever copy of its photo shows it: the digest of the content, and the stored box."""


class DecisionKind(StrEnum):
    """What a decision says; the values are stored."""

    KEEP = "keep"
    """These faces were the person's when somebody decided about the person, and stay so."""
    PLACE = "place"
    """These faces are the person's because somebody said so."""
    REJECT = "reject"
    """These faces are not the person's."""
    NAME = "name"
    """The person has this name; an empty one takes it away."""
    HIDE = "hide"
    SHOW = "show"
    COVER = "cover"
    """This face stands for the person."""
    JOIN = "join"
    """Another person is this one, too."""


class Anchor(Struct, frozen=True):
    """A face that a decision is about.

    It is found by content and box, so that it is known again in a copy, after a removal of the photo from the index and
    with other settings; its id finds it after an edit of the photo.
    """

    digest: bytes
    box: bytes
    """As in the table of faces: four float32."""
    face_id: int
    """0 where the face is in no photo of the index now."""

    @property
    def key(self) -> FaceKey:
        return self.digest, self.box


class Decision(Struct, frozen=True):
    """One decision."""

    kind: DecisionKind
    person_id: int
    name: str = ""
    other: int = 0
    """With JOIN: the person that is this one, too."""
    faces: tuple[Anchor, ...] = ()
    step: int = 0
    """The number of the command that made it; it is undone as a whole."""
    time_ns: int = 0
    """When it was made, in nanoseconds since 1970."""
    decision_id: int = 0


class FaceTable(Struct, frozen=True, eq=False):
    """All faces of the index, ascending by id."""

    face_ids: NDArray[np.int64]
    """int64 (n,)."""
    keys: tuple[FaceKey, ...]
    """n contents and boxes."""
    scores: FloatArray
    """float32 (n,)."""
    codes: NDArray[np.float16]
    """float16 (n, d): the embeddings, of unit length."""
    signature: int

    @property
    def boxes(self) -> FloatArray:
        """float32 (n, 4): x1, y1, x2, y2 in pixels."""
        return np.frombuffer(b"".join(box for _, box in self.keys), "<f4").reshape(-1, 4)


class EdgeTable(Struct, frozen=True, eq=False):
    """The most similar faces of each face, as the grouping keeps them to save time."""

    face_ids: NDArray[np.int64]
    """int64 (n,), rising."""
    digests: NDArray[np.uint64]
    """uint64 (n,): of each face's code and content; 0 for a face of which only this is left that others name it."""
    starts: NDArray[np.int64]
    """int64 (n + 1,): the neighbours of row i are at starts[i] to starts[i + 1]."""
    others: NDArray[np.int32]
    """int32 (e,): rows."""
    similarities: FloatArray
    """float32 (e,): cosines."""


class GroupMember(Struct, frozen=True):
    """A face of a person."""

    face_id: int
    person_id: int
    similarity: float
    """Cosine to the mean of the person's faces."""
    decided: bool
    """Whether somebody put it there."""


class PersonGroup(Struct, frozen=True):
    """What is stored about the group of a person."""

    person_id: int
    cover: int
    """The id of the face that stands for the person."""
    cohesion: float
    """The mean cosine of the pairs of the person's faces."""


class Resemblance(Struct, frozen=True):
    """Two people who may be one."""

    person_id: int
    other: int
    similarity: float
    """The cosine of the means of their faces."""


class Grouping(Struct, frozen=True):
    """What the stored groups were made from."""

    last_person: int = 0
    """The highest id that a person ever had."""
    generation: int = 0
    """The generation of the catalogue; 0 where nothing was grouped yet."""
    signature: int = 0
    """A hash of all faces and the contents that show them."""
    last_face: int = 0
    """The highest id of a face."""
    threshold: float | None = None
    """The asked similarity; None for that of the recogniser."""
    least: float = 1.0
    """The similarity from which on pairs are kept as edges."""


class Groups(Struct, frozen=True):
    """All that is derived from faces and decisions."""

    grouping: Grouping
    members: tuple[GroupMember, ...] = ()
    persons: tuple[PersonGroup, ...] = ()
    suggestions: tuple[Resemblance, ...] = ()


class PeopleChange(Struct, frozen=True):
    """A change of decisions and groups, made as a whole."""

    added: tuple[Decision, ...] = ()
    """The decisions of one command."""
    dropped: tuple[int, ...] = ()
    """Ids of decisions."""
    anchors: tuple[tuple[FaceKey, Anchor], ...] = ()
    """Faces that changed their content or box, each with its earlier key."""
    groups: Groups | None = None
    """All groups; None where they stay."""
    edges: EdgeTable | None = None
    """All edges; None where they stay."""
