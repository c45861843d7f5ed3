"""The task and the outcome of a file, and how both are written in the messages of workers."""

from __future__ import annotations

import os
from typing import TypeAlias

import numpy as np
from msgspec import Struct

from facecli.pipeline.messages import PhotoResult, PhotoTask, ResultKind
from facecli.similarity.lengths import have_unit_length
from facecli.store.records import KnownFile
from facecli.types import Detections, IndexedPhoto, PhotoFile, Skipped, SkipReason

WORKER_DIED = "worker-died"
"""`Skipped.refused_by` of a photo on which several workers died."""
_DIGEST = 16


class FileTask(Struct, frozen=True):
    """A file to read, and the entry of the index for its path."""

    file: PhotoFile
    known: KnownFile | None


class Unaltered(Struct, frozen=True):
    """The file has a new mtime but the same content as in the index."""

    file: PhotoFile
    known: KnownFile


class Recognised(Struct, frozen=True):
    """The index has the content under other paths, or keeps it out; the worker may be wrong."""

    file: PhotoFile
    digest: bytes
    known: KnownFile | None


class Fresh(Struct, frozen=True):
    """The content was read in this run."""

    photo: IndexedPhoto
    known: KnownFile | None


FileOutcome: TypeAlias = Unaltered | Recognised | Fresh | Skipped


def task_record(task: FileTask) -> PhotoTask:
    """A task as the worker gets it."""
    file, known = task.file, task.known
    digest = known.digest if known is not None and known.photo_id is not None else b""
    return PhotoTask(os.fsencode(file.path), file.size, file.mtime_ns, digest)


def read_result(task: FileTask, result: PhotoResult, dimension: int) -> FileOutcome:
    """The outcome that a worker tells; raises ValueError if it cannot be one for the task.

    `dimension` is the number of values of an embedding.
    """
    if result.path != os.fsencode(task.file.path):
        raise ValueError("it is about another file")
    file = _file(task.file, result)
    match result.kind:
        case ResultKind.SKIPPED:
            return Skipped(file, SkipReason(result.reason), result.detail, result.refused_by)
        case ResultKind.UNALTERED:
            if task.known is None or task.known.photo_id is None or result.digest != task.known.digest:
                raise ValueError("nothing is known of that file")
            return Unaltered(file, task.known)
        case ResultKind.RECOGNISED:
            return Recognised(file, _digest(result), task.known)
        case ResultKind.FRESH:
            return Fresh(_photo(file, result, dimension), task.known)


def give_up(task: FileTask, why: str) -> Skipped:
    """The outcome for a photo on which several workers died."""
    return Skipped(task.file, SkipReason.UNREADABLE, f"several workers were lost on it: {why}", WORKER_DIED)


def is_doubtful(outcome: FileOutcome) -> bool:
    """Whether a worker says that a file is gone which is there."""
    return isinstance(outcome, Skipped) and outcome.reason is SkipReason.VANISHED and os.path.exists(outcome.file.path)


def _file(file: PhotoFile, result: PhotoResult) -> PhotoFile:
    """The file as it was read; ctime and inode are those that the scan saw, since another machine has its own."""
    if (result.size, result.mtime_ns) == (file.size, file.mtime_ns):
        return file
    return PhotoFile(file.path, result.size, result.mtime_ns)


def _digest(result: PhotoResult) -> bytes:
    if len(result.digest) != _DIGEST:
        raise ValueError("no digest")
    return result.digest


def _photo(file: PhotoFile, result: PhotoResult, dimension: int) -> IndexedPhoto:
    count = len(result.scores) // 4
    boxes = np.frombuffer(result.boxes, "<f4").reshape(count, 4)
    scores = np.frombuffer(result.scores, "<f4").reshape(count)
    landmarks = np.frombuffer(result.landmarks, "<f4").reshape(count, 5, 2)
    found_by = np.frombuffer(result.found_by, "u1").reshape(count)
    embeddings = np.frombuffer(result.codes, "<f2").reshape(count, dimension).astype(np.float32)
    if not all(np.isfinite(values).all() for values in (boxes, scores, landmarks, embeddings)):
        raise ValueError("its numbers are not finite")
    if not have_unit_length(embeddings):
        raise ValueError("an embedding is not of unit length")
    if not (result.width > 0 and result.height > 0):
        raise ValueError("it has no size")
    found = Detections(boxes, scores, landmarks, found_by)
    return IndexedPhoto(file, _digest(result), result.width, result.height, found, embeddings, result.capture)
