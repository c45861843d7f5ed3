"""The pictures for an answer; each photo is read once, even if it shows several faces."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from msgspec import Struct

from facecli.config import ReadOptions
from facecli.errors import PhotoError
from facecli.photos.recorded import Recorded
from facecli.reporting import Reporter, counting
from facecli.searching.originals import original_of, originals_of
from facecli.searching.query_parser import STDIN
from facecli.searching.search import SearchAnswer
from facecli.searching.thumbnails import Made, PictureTask, make_pictures
from facecli.store.reader import IndexReader
from facecli.types import Box, FileContents, Match, QueryFace


class FacePicture(Struct, frozen=True, eq=False):
    """A cut-out face and its photo's thumbnail, as JPEG files; empty if the photo cannot be read."""

    path: str
    width: int
    height: int
    thumbnail: bytes
    face: bytes
    trouble: str


class AnswerPictures:
    """Makes the picture of every face in an answer."""

    def __init__(self, reader: IndexReader, answer: SearchAnswer) -> None:
        self._reader = reader
        self._photos = {photo.query: photo for photo in answer.photos}
        self._boxes: dict[Recorded, dict[Box, None]] = {}
        self._made: dict[Recorded, Made] = {}
        self._shown = {original.path: original for original in originals_of(reader, answer.results)}
        for face in (face for result in answer.results for face in result.asked):
            self._boxes.setdefault(self._asked_with(face), {})[face.box] = None
        for match in (match for result in answer.results for match in result.matches):
            self._boxes.setdefault(self._shown[match.path], {})[match.box] = None

    def make(self, options: ReadOptions, report: Reporter) -> None:
        """Read all photos and make their pictures."""
        tasks = list(self._tasks())
        with counting(report, "photos", len(tasks)):
            for task, made in zip(tasks, make_pictures(tasks, options), strict=True):
                self._made[task.original] = made
                report.advance(1)

    def _tasks(self) -> Iterator[PictureTask]:
        for original, boxes in self._boxes.items():
            yield PictureTask(original, tuple(boxes), self._contents() if original.path == STDIN else None)

    def _contents(self) -> FileContents | None:
        photo = self._photos.get(STDIN)
        return photo.contents if photo is not None else None

    def _asked_with(self, face: QueryFace) -> Recorded:
        """The photo of a query face, with the digest of the content that was searched for."""
        if face.face_id is not None:
            return original_of(self._reader, face.face_id)
        photo = self._photos[face.query]
        return Recorded(photo.file, photo.digest)

    def of_query(self, face: QueryFace) -> FacePicture:
        """The picture of a query face."""
        return self._of(self._asked_with(face), face.box)

    def of_match(self, match: Match) -> FacePicture:
        """The picture of a matched face."""
        return self._of(self._shown[match.path], match.box)

    def time_of(self, match: Match) -> str:
        """When the file of a matched photo was written, in local time, ISO 8601."""
        return _local_time(self._shown[match.path].mtime_ns)

    def _of(self, original: Recorded, box: Box) -> FacePicture:
        made = self._made[original]
        if isinstance(made, PhotoError):
            return FacePicture(original.path, 0, 0, b"", b"", made.what)
        face = made.faces[list(self._boxes[original]).index(box)]
        return FacePicture(original.path, made.width, made.height, made.thumbnail, face, "")


def _local_time(mtime_ns: int) -> str:
    """A time in ns since 1970 as local time, ISO 8601; empty where a calendar cannot name it."""
    try:
        return dt.datetime.fromtimestamp(mtime_ns / 1e9).astimezone().isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return ""
