"""Records of people: the people of an index, their faces, and pairs of people who may be one."""

from __future__ import annotations

from msgspec import Struct

from facecli.types import Box, PhotoFile


class PersonInfo(Struct, frozen=True):
    """A person of an index."""

    person_id: int
    name: str | None
    hidden: bool
    faces: int
    photos: int
    """Copies of a photo count as one."""
    cover: int | None
    """The id of the face that stands for the person; None without faces."""
    cohesion: float
    """The mean cosine of the pairs of faces; 1 for a single face, 0 without."""
    first: str | None = None
    last: str | None = None
    """When the earliest and the latest photo were taken, ISO; None where that is not known."""

    @property
    def title(self) -> str:
        """The name, or what stands for it."""
        return self.name or f"person {self.person_id}"


class PersonFace(Struct, frozen=True):
    """A face of a person, with its photo."""

    face_id: int
    person_id: int
    similarity: float
    """Cosine to the mean of the person's faces."""
    decided: bool
    """Whether somebody put it there."""
    box: Box
    """x1, y1, x2, y2 in pixels of the upright photo."""
    score: float
    file: PhotoFile
    """As it was indexed."""
    key: tuple[bytes, bytes]
    """The digest of the photo, and the stored box."""

    @property
    def path(self) -> str:
        """Absolute path of the photo."""
        return self.file.path


class AlikePeople(Struct, frozen=True):
    """Two people who may be one."""

    person: PersonInfo
    other: PersonInfo
    similarity: float
    """The cosine of the means of their faces."""
