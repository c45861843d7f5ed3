"""Read and decode the file of a task, for every kind of worker."""

from __future__ import annotations

from facecli.photos.decode import PhotoReader
from facecli.pipeline.messages import PhotoChunk, PhotoResult, PhotoTask, ResultKind
from facecli.pipeline.results import file_of, known, skipped
from facecli.pipeline.ties import DEATHS, Ties
from facecli.types import FileContents, Photo, Skipped


def read_task(reader: PhotoReader, task: PhotoTask, chunk: PhotoChunk, ties: Ties) -> FileContents | PhotoResult:
    """The bytes of a task's file, or its result where they need not be decoded."""
    contents = reader.read(file_of(task))
    if isinstance(contents, Skipped):
        return skipped(contents)
    if not chunk.force and contents.digest == task.digest:
        return known(ResultKind.UNALTERED, contents)
    if ties.knows(contents.digest, chunk.force):
        return known(ResultKind.RECOGNISED, contents)
    return contents


def decode_contents(reader: PhotoReader, contents: FileContents, chunk: PhotoChunk, ties: Ties) -> Photo | Skipped:
    """The photo, decoded in a process of its own where workers or runs have died with it in flight."""
    with ties.journal.in_flight(contents.digest) as deaths:
        photo = reader.decode(contents, isolated=chunk.isolated or deaths >= DEATHS)
    if reader.warning:
        ties.report.detail(f"{contents.file.path}: {reader.warning}")
    return photo
