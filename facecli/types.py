"""What flows between the rooms: frozen records over numpy arrays.

Conventions, everywhere: pixels are RGB, uint8, (height, width, 3), upright as a viewer shows the photo. Boxes are x1,
y1, x2, y2 and landmarks x, y in pixels of the upright photo, float32. Paths are absolute `str` as `os.fsdecode` gives
them (a name that is not UTF-8 holds surrogates), and become the file's very bytes through `os.fsencode`. Digests are
the 16 bytes of XXH3-128 of a file's content.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import IntEnum, StrEnum

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
IntArray = NDArray[np.int32]
Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the upright photo."""
LARGEST = (1 << 63) - 1
"""The largest number that the index can hold."""


def storable(number: int) -> int:
    """The nearest number that the index can hold."""
    return number if -LARGEST <= number <= LARGEST else min(max(number, -LARGEST - 1), LARGEST)


class SkipReason(StrEnum):
    """Why a photo could not be read; the words of the contract."""

    UNREADABLE = "unreadable"
    NOT_AN_IMAGE = "not-an-image"
    TRUNCATED = "truncated"
    TOO_LARGE = "too-large"
    UNSUPPORTED = "unsupported"
    CHANGED = "changed-while-reading"
    PERMISSION = "permission"
    VANISHED = "vanished"
    UNAVAILABLE = "unavailable"

    @property
    def lasts(self) -> bool:
        """Whether the content is at fault, so that reading it again before it changes gives the same."""
        return self not in (SkipReason.CHANGED, SkipReason.PERMISSION, SkipReason.VANISHED, SkipReason.UNAVAILABLE)


class FoundBy(IntEnum):
    """The pass of the detector that found a face; parity with InsightFace is judged on MAIN."""

    MAIN = 0
    SMALL_SCALE = 1
    ROTATED = 2
    TILE = 3


class PhotoFile(Struct, frozen=True):
    """A file as the scan saw it."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int | None = None
    """When the file or anything about it was last changed; None where the file system's inodes are not stable, or it
    is not on record."""
    inode: int | None = None

    def looks_like(self, earlier: PhotoFile) -> bool:
        """Whether nothing tells the file apart from what it was: its size and time and, where both are known, time of change and inode."""
        if self.size != earlier.size or self.mtime_ns != earlier.mtime_ns:
            return False
        return None in (self.ctime_ns, earlier.ctime_ns) or (self.ctime_ns, self.inode) == (
            earlier.ctime_ns,
            earlier.inode,
        )

    @classmethod
    def seen(cls, path: str, state: os.stat_result, *, is_stable: bool = False) -> PhotoFile:
        """A file of which the system says `state`; a time that the index can't hold, as after 2262-04-11, is the nearest that it can.

        `is_stable` says whether its file system keeps inodes.
        """
        if is_stable:
            return cls(
                path, state.st_size, storable(state.st_mtime_ns), storable(state.st_ctime_ns), state.st_ino & LARGEST
            )
        return cls(path, state.st_size, storable(state.st_mtime_ns))


class Skipped(Struct, frozen=True):
    """A file that could not be read, as a value."""

    file: PhotoFile
    reason: SkipReason
    detail: str
    refused_by: str = ""
    """The option or missing reader that refused it ("max-pixels=200000000", "reader=heif"); empty where the content
    alone is at fault."""
    known: bool = False
    """Whether an earlier run had recorded it, and it was not read again."""


class FileContents(Struct, frozen=True):
    """The bytes of a photo's file, read once."""

    file: PhotoFile
    digest: bytes
    data: bytes


class Photo(Struct, frozen=True, eq=False):
    """A decoded photo.

    `pixels` is uint8 (height, width, 3), RGB, upright. It may be a view with negative strides onto a buffer that its
    decoder reuses: it is valid until that decoder decodes the next photo, and nobody writes into it.
    """

    file: PhotoFile
    digest: bytes
    pixels: ByteArray

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


class Detections(Struct, frozen=True, eq=False):
    """The faces of one photo, in the order of the detector (falling score; main pass first)."""

    boxes: FloatArray
    """float32 (n, 4): x1, y1, x2, y2 in pixels of the upright photo."""
    scores: FloatArray
    """float32 (n,): 0 to 1."""
    landmarks: FloatArray
    """float32 (n, 5, 2): left eye, right eye, nose, left and right corner of the mouth, as x, y in pixels of the
    upright photo."""
    found_by: ByteArray
    """uint8 (n,): the values of FoundBy."""

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, chosen: NDArray[np.generic]) -> Detections:
        """The faces at `chosen`, a boolean mask (n,) or integer indices."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.landmarks[chosen], self.found_by[chosen])

    @staticmethod
    def none() -> Detections:
        """No face."""
        empty = np.zeros
        return Detections(
            empty((0, 4), np.float32), empty(0, np.float32), empty((0, 5, 2), np.float32), empty(0, np.uint8)
        )


class FaceCrops(Struct, frozen=True, eq=False):
    """Aligned faces pooled across photos."""

    pixels: ByteArray
    """uint8 (m, 112, 112, 3), RGB."""
    owner: IntArray
    """int32 (m,): which photo of the batch each crop belongs to."""


class IndexedPhoto(Struct, frozen=True, eq=False):
    """A photo with its faces: what the store's writer takes as one unit."""

    file: PhotoFile
    digest: bytes
    width: int
    height: int
    detections: Detections
    embeddings: FloatArray
    """float32 (n, d), unit length, one row a face of `detections`."""


def shown_box(box: Box) -> str:
    """x1,y1,x2,y2 in whole pixels."""
    return ",".join(f"{value:.0f}" for value in box)


class QueryFace(Struct, frozen=True, eq=False):
    """A face that is searched for."""

    query: str
    """The query as it was typed."""
    number: int
    """Its number in the query photo, from 1 by falling area (ties by x); for `face:ID` 1."""
    box: Box
    score: float
    embedding: FloatArray
    """float32 (d,), unit length."""
    face_id: int | None = None
    """The indexed face that `face:ID` named; it is left out of its own answer."""

    def __repr__(self) -> str:
        return f"<face {self.number} of {self.query!r}, score {self.score:.2f}, box {shown_box(self.box)}>"


class Match(Struct, frozen=True):
    """An indexed face that is near to a query face."""

    rank: int
    """From 1 in each block."""
    similarity: float
    """Cosine similarity, -1 to 1."""
    face_id: int
    path: str
    """Absolute path of the photo."""
    box: Box
    score: float


class Sureness(StrEnum):
    """How sure a match is, in words."""

    SURE = "sure"
    LIKELY = "likely"
    UNSURE = "unsure"


class Judgement(Struct, frozen=True):
    """How sure a match is, and why."""

    sureness: Sureness
    margin: float | None
    """Its similarity less that of the nearest face that is certainly another person's; None where none is near."""


class SearchResult(Struct, frozen=True):
    """One block of an answer: a query and its matches, best first."""

    query: QueryFace
    matches: tuple[Match, ...]
    references: tuple[QueryFace, ...] = ()
    """Under `--combine any`: for each match the reference that matched best."""
    judgements: tuple[Judgement, ...] = ()
    """For each match how sure it is; empty where nobody asked, or the pack is not calibrated."""


class StageTime(Struct):
    """How long a stage worked and how long it waited, in seconds summed over its threads."""

    busy_seconds: float = 0.0
    wait_seconds: float = 0.0


class PhotoCounts(Struct):
    """The photos of an index run."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    total: int = 0


class FaceCounts(Struct):
    """The faces of an index run."""

    added: int = 0
    removed: int = 0
    total: int = 0


class IndexReport(Struct):
    """What an index run did."""

    index: str
    model: str
    device: str = ""
    provider: str = ""
    seconds: float = 0.0
    photos: PhotoCounts = field(default_factory=PhotoCounts)
    faces: FaceCounts = field(default_factory=FaceCounts)
    jobs: int = 1
    """Worker threads."""
    devices: int = 0
    """Devices that ran the networks beside the workers; 0 where the workers ran them themselves."""
    stages: dict[str, StageTime] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    kept_out: int = 0
    """Photos and faces that an earlier `remove` keeps out."""
    missing_roots: list[str] = field(default_factory=list)
    interrupted_by: int = 0
    """The signal that ended the run early, 0 if none did."""


JsonValue = None | bool | int | float | str | list["JsonValue"] | Mapping[str, "JsonValue"]
