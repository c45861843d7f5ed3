"""Records that the packages of facecli exchange, mostly frozen, some with numpy arrays.

Conventions: pixels are RGB, uint8, (height, width, 3), upright as a viewer shows the photo. Boxes are x1, y1, x2, y2
and landmarks x, y in pixels of the upright photo, float32. Paths are absolute `str` as `os.fsdecode` returns them (a
name that is not UTF-8 contains surrogates); `os.fsencode` returns the bytes of the name. Digests are the 16 bytes of
XXH3-128 of a file's content.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import IntEnum, StrEnum
from typing import Self

import numpy as np
from msgspec import Struct, field
from numpy.typing import NDArray

from facecli.captures import Capture

FloatArray = NDArray[np.float32]
ByteArray = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the upright photo."""
LARGEST = (1 << 63) - 1
"""The largest integer that the index can store (SQLite's, 64 bits signed)."""


def storable(number: int) -> int:
    """Clamp a number to the range that the index can store."""
    return number if -LARGEST <= number <= LARGEST else min(max(number, -LARGEST - 1), LARGEST)


class SkipReason(StrEnum):
    """Why a photo cannot be read; the values are part of the output format."""

    said: str
    """What an error says of it."""
    lasts: bool
    """Whether the content is at fault: the photo stays unreadable until it changes."""

    def __new__(cls, value: str, said: str = "", lasts: bool = True) -> Self:  # noqa: FBT001, FBT002 (the rows below)
        reason = str.__new__(cls, value)
        reason._value_ = value
        reason.said, reason.lasts = said, lasts
        return reason

    UNREADABLE = "unreadable", "the photo cannot be read", True
    NOT_AN_IMAGE = "not-an-image", "not an image", True
    TRUNCATED = "truncated", "the photo is cut off", True
    TOO_LARGE = "too-large", "the photo is too large", True
    UNSUPPORTED = "unsupported", "this kind of image is not supported", True
    CHANGED = "changed-while-reading", "the photo changed while it was read", False
    PERMISSION = "permission", "no permission to read the photo", False
    VANISHED = "vanished", "no such photo", False
    UNAVAILABLE = "unavailable", "the photo cannot be read now", False


class FoundBy(IntEnum):
    """The detector pass that found a face; only MAIN is compared with InsightFace's results."""

    MAIN = 0
    SMALL_SCALE = 1
    ROTATED = 2
    TILE = 3


class PhotoFile(Struct, frozen=True):
    """A file and its metadata at the time of the scan."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int | None = None
    """Time of the last change of content or metadata; None if unknown or if the file system's inodes are not stable."""
    inode: int | None = None

    def looks_like(self, earlier: PhotoFile) -> bool:
        """Whether the file seems unchanged: same size and mtime and, if both are known, same ctime and inode."""
        if self.size != earlier.size or self.mtime_ns != earlier.mtime_ns:
            return False
        return None in (self.ctime_ns, earlier.ctime_ns) or (self.ctime_ns, self.inode) == (
            earlier.ctime_ns,
            earlier.inode,
        )

    @classmethod
    def seen(cls, path: str, state: os.stat_result, *, is_stable: bool = False) -> PhotoFile:
        """Create from the result of `stat`; times that the index cannot store (after 2262-04-11) are clamped.

        `is_stable` says whether inodes of the file system are stable.
        """
        if is_stable:
            return cls(
                path, state.st_size, storable(state.st_mtime_ns), storable(state.st_ctime_ns), state.st_ino & LARGEST
            )
        return cls(path, state.st_size, storable(state.st_mtime_ns))


class Skipped(Struct, frozen=True):
    """A file that cannot be read."""

    file: PhotoFile
    reason: SkipReason
    detail: str
    refused_by: str = ""
    """The option or missing reader that caused it ("max-pixels=200000000", "reader=heif"); empty if the content did."""
    known: bool = False
    """Whether an earlier run recorded it and it was not read again."""


class FileContents(Struct, frozen=True):
    """The bytes of a photo's file, read once."""

    file: PhotoFile
    digest: bytes
    data: bytes


class Photo(Struct, frozen=True, eq=False):
    """A decoded photo.

    `pixels` is uint8 (height, width, 3), RGB, upright. It may be a view, with negative strides, of a buffer that the
    decoder reuses: it is read-only and valid until the same decoder decodes its next photo.
    """

    file: PhotoFile
    digest: bytes
    pixels: ByteArray
    capture: Capture | None = None

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])


class Detections(Struct, frozen=True, eq=False):
    """The faces of one photo, in the detector's order: main pass first, then by falling score."""

    boxes: FloatArray
    """float32 (n, 4): x1, y1, x2, y2 in pixels of the upright photo."""
    scores: FloatArray
    """float32 (n,): 0 to 1."""
    landmarks: FloatArray
    """float32 (n, 5, 2): left and right eye, nose, left and right mouth corner; x, y in pixels of the upright photo."""
    found_by: ByteArray
    """uint8 (n,): values of FoundBy."""

    def __len__(self) -> int:
        return len(self.scores)

    def select(self, chosen: NDArray[np.generic]) -> Detections:
        """Select faces by a boolean mask (n,) or integer indices (m,)."""
        return Detections(self.boxes[chosen], self.scores[chosen], self.landmarks[chosen], self.found_by[chosen])

    @staticmethod
    def none() -> Detections:
        """Return an empty result: arrays of length 0."""
        empty = np.zeros
        return Detections(
            empty((0, 4), np.float32), empty(0, np.float32), empty((0, 5, 2), np.float32), empty(0, np.uint8)
        )


class IndexedPhoto(Struct, frozen=True, eq=False):
    """A photo with its faces; the store writes it as a unit."""

    file: PhotoFile
    digest: bytes
    width: int
    height: int
    detections: Detections
    embeddings: FloatArray
    """float32 (n, d), unit length, one row per face of `detections`."""
    capture: Capture | None = None
    """None if nobody has looked."""


def shown_box(box: Box) -> str:
    """Format a box as x1,y1,x2,y2 in whole pixels."""
    return ",".join(str(round(edge)) for edge in box)


class QueryFace(Struct, frozen=True, eq=False):
    """A face to search for."""

    query: str
    """The query as the user typed it."""
    number: int
    """Its number in the query photo, from 1 by falling area (ties by x); for `face:ID` 1."""
    box: Box
    score: float
    embedding: FloatArray
    """float32 (d,), unit length."""
    face_id: int | None = None
    """The indexed face of a query `face:ID`; it is excluded from its own matches."""
    person_id: int | None = None
    """The person of a query by a person, whose faces are the matches; `face_id` is then the person's cover."""

    def __repr__(self) -> str:
        return f"<face {self.number} of {self.query!r}, score {self.score:.2f}, box {shown_box(self.box)}>"


class IndexedFace(Struct, frozen=True, eq=False):
    """A face of the index, as it is listed."""

    face_id: int
    path: str
    """Absolute path of its photo."""
    number: int
    """Its number in the photo, from 1 by falling area (ties by x)."""
    box: Box
    score: float
    embedding: FloatArray
    """float32 (d,), unit length."""
    person: int | None
    """The person that it shows; None if it belongs to nobody yet."""


class Confidence(StrEnum):
    """How likely a match shows the same person, by the measured false matches in an index of its size."""

    LIKELY = "likely"
    POSSIBLE = "possible"
    UNLIKELY = "unlikely"


class Match(Struct, frozen=True):
    """An indexed face that is similar to a query face."""

    rank: int
    """From 1 for each query."""
    similarity: float
    """Cosine similarity, -1 to 1."""
    face_id: int
    path: str
    """Absolute path of the photo."""
    box: Box
    score: float
    confidence: Confidence | None = None
    """None if the model pack is not calibrated."""
    taken_at: str | None = None
    """When the photo was taken by the camera's clock, ISO; None if that is not known."""
    digest: bytes = b""
    """Of the content of the photo: copies have the same."""
    copies: int = 1
    """How many photos of the index have this content."""
    burst: int = 1
    """How many photos of a burst the match stands for, if bursts are collapsed."""


class SearchResult(Struct, frozen=True):
    """A query and its matches, best first."""

    query: QueryFace
    matches: tuple[Match, ...]
    references: tuple[QueryFace, ...] = ()
    """With `--combine any`: the best reference for each match."""
    asked: tuple[QueryFace, ...] = ()
    """All faces that were searched for."""
    more: bool = False
    """Whether there are more matches than were asked for."""
    nearest: float | None = None
    """The similarity of the nearest face if none is over the threshold; None in an empty index."""


class StageTime(Struct):
    """Working and waiting time of a stage in seconds, summed over its threads."""

    busy_seconds: float = 0.0
    wait_seconds: float = 0.0


class PhotoCounts(Struct):
    """Counts of photos in an index run."""

    seen: int = 0
    new: int = 0
    changed: int = 0
    moved: int = 0
    unchanged: int = 0
    removed: int = 0
    skipped: int = 0
    total: int = 0


class FaceCounts(Struct):
    """Counts of faces in an index run."""

    added: int = 0
    removed: int = 0
    total: int = 0


class IndexReport(Struct):
    """The report of an index run."""

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
    """Devices with threads of their own for the networks; 0 if the workers ran the networks."""
    engine: str = ""
    """Where the workers ran: threads (in this process), processes, or ray; empty if the models were not needed."""
    workers: int = 0
    """Workers, each with models of its own; one has several threads."""
    machines: int = 0
    """The machines of the workers."""
    stages: dict[str, StageTime] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    kept_out: int = 0
    """Photos and faces that were not indexed because they were removed earlier."""
    missing_roots: list[str] = field(default_factory=list)
    interrupted_by: int = 0
    """Number of the signal that stopped the run early; 0 if none did."""


JsonValue = None | bool | int | float | str | list["JsonValue"] | Mapping[str, "JsonValue"]
