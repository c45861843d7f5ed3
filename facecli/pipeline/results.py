"""The results of a worker as records for its driver."""

from __future__ import annotations

import os

from msgspec.structs import replace

from facecli.pipeline.messages import PhotoResult, PhotoTask, ResultKind
from facecli.types import FileContents, IndexedPhoto, PhotoFile, Skipped


def file_of(task: PhotoTask) -> PhotoFile:
    """The file of a task."""
    return PhotoFile(os.fsdecode(task.path), task.size, task.mtime_ns)


def skipped(photo: Skipped) -> PhotoResult:
    """The result for a file that cannot be read."""
    file = photo.file
    return PhotoResult(
        ResultKind.SKIPPED,
        os.fsencode(file.path),
        file.size,
        file.mtime_ns,
        reason=str(photo.reason),
        detail=photo.detail,
        refused_by=photo.refused_by,
    )


def known(kind: ResultKind, contents: FileContents) -> PhotoResult:
    """The result for a content that needs no inference."""
    file = contents.file
    return PhotoResult(kind, os.fsencode(file.path), file.size, file.mtime_ns, contents.digest)


def fresh(photo: IndexedPhoto) -> PhotoResult:
    """The result for a photo whose faces were found."""
    file, found = photo.file, photo.detections
    return PhotoResult(
        ResultKind.FRESH,
        os.fsencode(file.path),
        file.size,
        file.mtime_ns,
        photo.digest,
        photo.width,
        photo.height,
        found.boxes.astype("<f4", copy=False).tobytes(),
        found.scores.astype("<f4", copy=False).tobytes(),
        found.landmarks.astype("<f4", copy=False).tobytes(),
        found.found_by.tobytes(),
        photo.embeddings.astype("<f2", copy=False).tobytes(),
        capture=photo.capture,
    )


def as_copy(result: PhotoResult, file: PhotoFile) -> PhotoResult:
    """The result for another file with the same content."""
    return replace(result, path=os.fsencode(file.path), size=file.size, mtime_ns=file.mtime_ns)
