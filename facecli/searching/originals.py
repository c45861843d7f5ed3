"""The files of the photos in an answer, with their recorded size and digest."""

from __future__ import annotations

from collections.abc import Iterable

from facecli.photos.recorded import Recorded
from facecli.store.reader import IndexReader
from facecli.types import SearchResult


def original_of(reader: IndexReader, face_id: int) -> Recorded:
    """The file of the photo with a face, as it was indexed."""
    photo = reader.photo_with(face_id)
    return Recorded(photo.file, photo.digest)


def originals_of(reader: IndexReader, results: Iterable[SearchResult]) -> list[Recorded]:
    """The files of all matches, each once, in the order of the matches."""
    faces: dict[str, int] = {}
    for match in (match for result in results for match in result.matches):
        faces.setdefault(match.path, match.face_id)
    return [original_of(reader, face_id) for face_id in faces.values()]
