"""What the store takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from facecli.fingerprint import Fingerprint
from facecli.types import FloatArray, FoundBy, IndexedPhoto, PhotoFile, Skipped, shown_box


class EmbeddingKind(Struct, frozen=True):
    """What the embeddings of an index are made with."""

    fingerprint: Fingerprint
    licence: str
    model_directory: str | None = None
    """Where the pack was named by its directory; None where its name finds it."""


class KnownFile(Struct):
    """A path that the index knows: a stored photo, a recorded lasting skip, or both where a stored photo became unreadable.

    Where `skip` is set, `file` is what the skipped file looked like. A photo that must be embedded again though its
    file may be unchanged (`again`) has size and time -1 and an empty digest, so that it equals no file.
    """

    photo_id: int | None
    file: PhotoFile
    digest: bytes
    skip: Skipped | None = None
    again: bool = False


FileStat: TypeAlias = tuple[bytes, int, int, int | None, int | None, int | None]
"""A known path as its bytes, absolute, with size, time, time of change, inode and photo id.

Size -1 where `at` has more to say, no id for a skipped file, None for a time of change and an inode that are not on record.
"""


class StoredFace(Struct, frozen=True, eq=False):
    """A face of the index."""

    face_id: int
    path: str
    """Absolute path of its photo."""
    box: tuple[float, float, float, float]
    score: float
    found_by: FoundBy
    landmarks: FloatArray
    """float32 (5, 2), x, y in pixels of the upright photo."""
    embedding: FloatArray
    """float32 (d,): the float16 values that are stored."""

    def __repr__(self) -> str:
        return f"<face {self.face_id} of {self.path!r}, score {self.score:.2f}, box {shown_box(self.box)}>"


class StoredPhoto(Struct, frozen=True):
    """A photo of the index."""

    photo_id: int
    file: PhotoFile
    digest: bytes
    width: int
    height: int
    faces: int


class KeptOut(Struct, frozen=True, eq=False):
    """What `remove` keeps out of one content."""

    photo: bool
    """Whether the whole photo stays out."""
    boxes: FloatArray
    """float32 (n, 4): the boxes of the faces that stay out."""

    def __bool__(self) -> bool:
        return self.photo or len(self.boxes) > 0


class Batch(Struct, frozen=True):
    """One unit of durability: all of it stands after a commit, or nothing."""

    photos: tuple[IndexedPhoto, ...] = ()
    """New photos, and those whose content changed (told by their path)."""
    moves: tuple[tuple[int, PhotoFile], ...] = ()
    """Photo ids and the files that they are now; faces stay."""
    touches: tuple[tuple[int, PhotoFile], ...] = ()
    """Photo ids whose file has the same content but another size or time on record."""
    skips: tuple[Skipped, ...] = ()
    """Files that could not be read; those whose reason lasts are recorded, and a photo stored under their path
    stays."""


class Committed(Struct, frozen=True):
    """What a commit did."""

    faces_added: int = 0
    faces_removed: int = 0
    photos_kept_out: int = 0
    faces_kept_out: int = 0


class Finished(Struct, frozen=True):
    """What the end of a run did."""

    erased: bool = True
    """Whether everything deleted is provably gone; False where a reader still holds an older state open."""
    rebuilt: bool = False
    """Whether the vector file was written anew."""


class IndexInfo(Struct, frozen=True):
    """An index at a glance."""

    directory: str
    photos: int
    faces: int
    skipped: int
    kept_out: int
    """Photos and faces that `remove` keeps out."""
    generation: int
    epoch: int
    slots: int
    holes: int
    pending: bool
    """Whether an erasure waits for the next write to finish it."""
    fingerprint: Fingerprint
    licence: str
    model_directory: str | None
    migrating_to: Fingerprint | None
    schema: int
    sizes: Mapping[str, int]
    """Bytes of each file of the index."""


class Removal(Struct, frozen=True):
    """What a removal takes out."""

    photos: tuple[StoredPhoto, ...] = ()
    """Photos that were named, or lie below a directory that was."""
    copies: tuple[StoredPhoto, ...] = ()
    """Further photos of the same content."""
    faces: tuple[StoredFace, ...] = ()
    """Faces that were named, and the same ones in copies of their photos."""
    skips: tuple[str, ...] = ()
    """Files that could not be read, whose record goes too."""
    paths: tuple[str, ...] = ()
    """What was named; roots and mount points there are forgotten."""


class Problem(Struct, frozen=True):
    """Something that does not agree."""

    what: str
    where: str
    """The photo or the file that it is about."""
    face_id: int = 0
    photo_id: int = 0

    def __str__(self) -> str:
        return f"{self.what}: {self.where}"
