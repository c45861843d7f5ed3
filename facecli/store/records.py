"""Records that the store takes and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.captures import Capture
from facecli.fingerprint import Fingerprint
from facecli.types import FloatArray, FoundBy, IndexedPhoto, PhotoFile, Skipped, shown_box

Labels: TypeAlias = NDArray[np.int64]
"""int64 (n,): face ids, slots, or what else a scan numbers the codes by."""


class EmbeddingKind(Struct, frozen=True):
    """The pack and settings that the embeddings of an index are made with."""

    fingerprint: Fingerprint
    licence: str
    model_directory: str | None = None
    """The pack's directory where it was given as one; None where it is found by name."""


class KnownFile(Struct):
    """A path in the index: a stored photo, a permanently skipped file, or both where a photo became unreadable.

    Where `skip` is set, `file` is the file as it was skipped. A photo that must be embedded again although its file may
    be unchanged (`again`) has size and time -1 and an empty digest, so that no file matches it.
    """

    photo_id: int | None
    file: PhotoFile
    digest: bytes
    skip: Skipped | None = None
    again: bool = False


FileStat: TypeAlias = tuple[bytes, int, int, int | None, int | None, int | None]
"""A known path: absolute path as bytes, size, mtime in ns, ctime in ns, inode, photo id.

The size is -1 where only `at` has the whole record, the id is None for a skipped file, ctime and inode are None where
not on record.
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
    """float32 (d,): the stored float16 values."""

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
    capture: Capture | None = None
    """When, where and with what it was taken; None where nobody has looked."""


class KeptOut(Struct, frozen=True, eq=False):
    """What was removed of one content, and stays removed."""

    photo: bool
    """Whether the whole photo stays removed."""
    boxes: FloatArray
    """float32 (n, 4): the boxes of the faces that stay removed, x1, y1, x2, y2 in pixels."""

    def __bool__(self) -> bool:
        return self.photo or len(self.boxes) > 0


class Batch(Struct, frozen=True):
    """One unit of durability: after a commit all of it is stored, or nothing."""

    photos: tuple[IndexedPhoto, ...] = ()
    """New photos, and those whose content changed (matched by path)."""
    moves: tuple[tuple[int, PhotoFile], ...] = ()
    """Photo ids and their new files; the faces stay."""
    touches: tuple[tuple[int, PhotoFile], ...] = ()
    """Photo ids and files with the same content, but with a size or time other than recorded."""
    skips: tuple[Skipped, ...] = ()
    """Files that could not be read. Those with a permanent reason are recorded; a photo stored under the path stays."""


class Committed(Struct, frozen=True):
    """The result of a commit."""

    faces_added: int = 0
    faces_removed: int = 0
    photos_kept_out: int = 0
    faces_kept_out: int = 0


class Finished(Struct, frozen=True):
    """The result of finishing a run."""

    erased: bool = True
    """Whether all deleted data is verified to be erased; False where a reader still holds an older state open."""
    rebuilt: bool = False
    """Whether the vector file was rebuilt."""


class IndexInfo(Struct, frozen=True):
    """Summary of an index."""

    directory: str
    photos: int
    faces: int
    skipped: int
    kept_out: int
    """The number of photos and faces that were removed and stay removed."""
    generation: int
    epoch: int
    slots: int
    holes: int
    pending: bool
    """Whether the next writer has an erasure to finish."""
    fingerprint: Fingerprint
    licence: str
    model_directory: str | None
    migrating_to: EmbeddingKind | None
    """What a migration that is not finished makes."""
    schema: int
    sizes: Mapping[str, int]
    """Bytes of each file of the index."""
    part: str = ""
    """The part of the photos that the index is restricted to, as `1/3`; empty for all of them."""


class Removal(Struct, frozen=True):
    """What a removal removes."""

    photos: tuple[StoredPhoto, ...] = ()
    """Photos that were named, or lie below a named directory."""
    copies: tuple[StoredPhoto, ...] = ()
    """Other photos with the same content."""
    faces: tuple[StoredFace, ...] = ()
    """Faces that were named, and the same ones in copies of their photos."""
    skips: tuple[str, ...] = ()
    """Skipped files whose record is deleted too."""
    paths: tuple[str, ...] = ()
    """The named paths; roots and mount points at and below them are deleted."""
    erased: bool = False
    """Whether it is done and verified that no file of the index holds any of it."""


class Scope(Struct, frozen=True, eq=False):
    """The faces that a search compares."""

    leave_out: Sequence[Labels] = ()
    """For each query, the ids of faces to leave out, int64 (n,); or empty."""
    among: Labels | None = None
    """The slots of the only faces to compare, int64 (n,), in any order; None for all faces."""
    first_pass: float | None = None
    """By how much an estimate by short codes may lie below the similarity, as measured; None to compare every face."""


EVERYTHING = Scope()


class Selected(Struct, frozen=True, eq=False):
    """The faces of the photos that limits allow."""

    face_ids: Labels
    """int64 (n,), ascending."""
    slots: Labels
    """int64 (n,)."""
    undated: int
    """Photos left out because they have no date, though no other limit is known to leave them out."""
    unplaced: int
    """Photos left out because they have no place, though they have a date that fits."""


class Moment(Struct, frozen=True):
    """When, with what, and of whom a face was taken."""

    taken_ms: int | None
    """By the camera's clock; None where that is not known."""
    camera: str
    """Maker and model; empty where that is not known."""
    person_id: int | None


class Problem(Struct, frozen=True):
    """An inconsistency in the index."""

    what: str
    where: str
    """The photo or the file that it is about."""
    face_id: int = 0
    photo_id: int = 0

    def __str__(self) -> str:
        return f"{self.what}: {self.where}"
