"""The pictures of an answer: each photo read once, whatever number of faces it is shown for."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from facecli.config import ReadOptions
from facecli.errors import PhotoError
from facecli.searching.answering import SearchAnswer
from facecli.searching.naming import STDIN
from facecli.searching.pictures import Made, PictureTask, make_pictures
from facecli.store.reading import IndexReader
from facecli.types import FileContents, QueryFace, Reporter

Box = tuple[float, float, float, float]


class FacePicture(Struct, frozen=True, eq=False):
    """A face with the photo that shows it; empty where the photo cannot be read."""

    path: str
    width: int
    height: int
    thumbnail: bytes
    face: bytes
    trouble: str


class AnswerPictures:
    """Finds the picture of every face of an answer."""

    def __init__(self, reader: IndexReader, answer: SearchAnswer) -> None:
        self._reader = reader
        self._photos = {photo.query: photo for photo in answer.photos}
        self._boxes: dict[str, dict[Box, None]] = {}
        self._made: dict[str, Made] = {}
        for references in answer.references:
            for face in references:
                self._boxes.setdefault(self._path_of(face), {})[face.box] = None
        for match in (match for result in answer.results for match in result.matches):
            self._boxes.setdefault(match.path, {})[match.box] = None

    def make(self, options: ReadOptions, report: Reporter) -> None:
        """Read all photos and make their pictures."""
        tasks = list(self._tasks())
        report.start("photos", len(tasks))
        for task, made in zip(tasks, make_pictures(tasks, options), strict=True):
            self._made[task.path] = made
            report.advance(1)
        report.stop()

    def _tasks(self) -> Iterator[PictureTask]:
        for path, boxes in self._boxes.items():
            yield PictureTask(path, tuple(boxes), self._contents() if path == STDIN else None)

    def _contents(self) -> FileContents | None:
        photo = self._photos.get(STDIN)
        return photo.contents if photo is not None else None

    def _path_of(self, face: QueryFace) -> str:
        return self._reader.face(face.face_id).path if face.face_id is not None else self._photos[face.query].file.path

    def of_query(self, face: QueryFace) -> FacePicture:
        """The picture of a query face."""
        return self.of(self._path_of(face), face.box)

    def of(self, path: str, box: Box) -> FacePicture:
        """The picture of a face in a photo."""
        made = self._made[path]
        if isinstance(made, PhotoError):
            return FacePicture(path, 0, 0, b"", b"", made.what)
        return FacePicture(path, made.width, made.height, made.thumbnail, made.faces[list(self._boxes[path]).index(box)], "")
