"""What the driver of a run and its workers tell each other: typed records, MessagePack between processes.

Paths are the bytes of the names. Arrays are the bytes of little-endian numbers, row by row.
"""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from facecli.captures import Capture
from facecli.config import DetectionOptions, Precision, ReadOptions


class ResultKind(IntEnum):
    """What a worker found out about a file."""

    UNALTERED = 1
    """The content is that of the task's digest."""
    RECOGNISED = 2
    """The index seems to have the content, or to keep it out."""
    FRESH = 3
    """The content was decoded and its faces were found."""
    SKIPPED = 4
    """The file cannot be read."""


class PackName(Struct, frozen=True, array_like=True):
    """A model pack, and the contents that its two files must have."""

    model: str
    directory: str
    """Its directory where it was given as one; empty where it is found by name."""
    detector_sha256: str
    recogniser_sha256: str


class Spec(Struct, frozen=True, array_like=True):
    """What a worker must be to work for a run; sent once."""

    version: str
    """The version of facecli."""
    pack: PackName
    detection: DetectionOptions
    precision: Precision
    reading: ReadOptions
    device: str = "auto"
    jobs: int = 0
    """Threads that read and decode; 0 for one per processor."""
    batch_size: int = 64
    """The most photos in a batch of the device."""
    max_memory: int = 0
    """The most bytes for files and pixels; 0 for the default."""
    roots: tuple[bytes, ...] = ()
    """The directories of the run, which a worker must see."""
    sharing: int = 1
    """The workers that share the device, and so its memory."""


class Hello(Struct, frozen=True, array_like=True, tag=True):
    """What a worker is, told once it is ready for chunks; its models may still be opening."""

    version: str
    host: str
    pid: int
    device: str
    jobs: int
    apart: bool = False
    """Whether its networks run on a device other than its threads."""
    readers: tuple[str, ...] = ()
    """The optional photo formats that it reads."""
    unseen: tuple[bytes, ...] = ()
    """The roots that it does not see."""
    most: int = 1
    """The photos that it works on at once: in its threads or in one batch."""


class PhotoTask(Struct, frozen=True, array_like=True):
    """A file to read, as the driver saw it."""

    path: bytes
    size: int
    mtime_ns: int
    digest: bytes = b""
    """The content that the index has for this path; empty if none."""


class PhotoChunk(Struct, frozen=True, array_like=True, tag=True):
    """The files of one answer."""

    number: int
    tasks: tuple[PhotoTask, ...]
    force: bool = False
    """Whether contents that the index has are processed again."""
    isolated: bool = False
    """Whether photos are decoded in a process of their own, because workers died."""


class PhotoResult(Struct, frozen=True, array_like=True):
    """What was found out about one file; the size and time are those at reading."""

    kind: ResultKind
    path: bytes
    size: int
    mtime_ns: int
    digest: bytes = b""
    """16 bytes; empty if skipped."""
    width: int = 0
    height: int = 0
    boxes: bytes = b""
    """float32 (n, 4): x1, y1, x2, y2 in pixels of the upright photo."""
    scores: bytes = b""
    """float32 (n,)."""
    landmarks: bytes = b""
    """float32 (n, 5, 2): x, y in pixels of the upright photo."""
    found_by: bytes = b""
    """uint8 (n,): values of FoundBy."""
    codes: bytes = b""
    """float16 (n, d): unit embeddings."""
    reason: str = ""
    detail: str = ""
    refused_by: str = ""
    capture: Capture | None = None


class Note(Struct, frozen=True, array_like=True):
    """A message of a worker for the user."""

    text: str
    warns: bool = False
    """Whether it is told without --verbose too."""


class Answer(Struct, frozen=True, array_like=True, tag=True):
    """The results of a chunk, in the order of its tasks; fewer only after `finish`, and then the first ones."""

    number: int
    results: tuple[PhotoResult, ...]
    times: dict[str, tuple[float, float]]
    """Seconds of work and of waiting by stage, summed over the threads of the worker."""
    provider: str = ""
    """ONNX Runtime's name of the provider in use; empty if no photo needed the models."""
    notes: tuple[Note, ...] = ()


class Trouble(Struct, frozen=True, array_like=True, tag=True):
    """Why a worker cannot go on, or could not do a chunk."""

    kind: str
    """The class in facecli.errors; empty for an error that facecli does not know."""
    what: str
    where: str = ""
    hint: str = ""
    number: int = -1
    """The chunk; -1 if none."""


class Finish(Struct, frozen=True, array_like=True, tag=True):
    """To a worker: begin no more photos; those in progress are finished and answered."""
