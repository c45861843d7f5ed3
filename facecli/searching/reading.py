"""Read query photos and find their faces, in order, on as many processors as there is work for."""

from __future__ import annotations

import io
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import BinaryIO, TypeAlias

import numpy as np
import xxhash
from msgspec import Struct
from numpy.typing import NDArray

from facecli.config import ReadOptions
from facecli.errors import DeviceError, PhotoError
from facecli.photos.budget import default_budget
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.pipeline.cores import count_workers
from facecli.pipeline.stages import embed_photos
from facecli.searching.in_order import work_in_order
from facecli.searching.opening import BATCH_SIZE, ModelSource
from facecli.searching.query_parser import STDIN, PhotoQuery, refusal
from facecli.types import ByteArray, FileContents, FloatArray, IndexedPhoto, Photo, PhotoFile, QueryFace, Skipped
from facecli.vision.models import FaceModels
from facecli.vision.recognition.alignment import align_faces


class ReadingOptions(Struct, frozen=True):
    """Options for reading query photos."""

    reading: ReadOptions
    crops: bool = False
    """Whether to return the aligned crops of the faces."""
    sha256: bool = False
    """Whether to compute the SHA-256 of the file."""


class QueryPhoto(Struct, frozen=True, eq=False):
    """A query photo with its faces."""

    query: str
    file: PhotoFile
    digest: bytes
    sha256: str
    contents: FileContents | None
    """The bytes of a photo from stdin, which cannot be read twice; None for other photos."""
    faces: tuple[QueryFace, ...]
    """By descending area, ties by x; numbered from 1."""
    crops: ByteArray | None
    """uint8 (n, 112, 112, 3), RGB: the aligned crops in the order of the faces; None unless requested."""


Read: TypeAlias = QueryPhoto | PhotoError


def read_photos(
    source: ModelSource, queries: Sequence[PhotoQuery], options: ReadingOptions, stdin: BinaryIO | None = None
) -> Generator[Read]:
    """Each photo with its faces, or the error for a photo that cannot be used, in the order of `queries`.

    The models are opened for the first photo and closed after the last, or when the generator is closed; a caller that
    may leave it early must close it. Raises DeviceError and PackError.
    """
    if not queries:
        return
    with closing(source.open(len(queries))) as opened:
        budget = default_budget()
        workers = count_workers(opened.devices, BATCH_SIZE, budget.total)
        try:
            yield from work_in_order(
                queries, lambda: _Worker(opened.models, PhotoReader(options.reading, budget), options, stdin), workers
            )
        except DeviceError as error:
            if not opened.devices:
                raise
            # The hint of the error itself is meant for an index run, which keeps its results.
            raise DeviceError(
                error.what, error.where, hint="--device names another, `facecli doctor` tests every one"
            ) from error


class _Worker:
    """Reads photos one after another; each thread has its own."""

    def __init__(
        self, models: FaceModels, reader: PhotoReader, options: ReadingOptions, stdin: BinaryIO | None
    ) -> None:
        self._models, self._reader, self._options, self._stdin = models, reader, options, stdin

    def close(self) -> None:
        """Free the reader's memory."""
        self._reader.close()

    def __call__(self, query: PhotoQuery) -> Read:
        """The faces of one photo."""
        try:
            if isinstance(query.content, np.ndarray):
                return self._of_pixels(query.query, query.content)
            contents = self._contents(query)
            if isinstance(contents, Skipped):
                return refusal(contents, query.query)
            photo = self._reader.decode(contents)
            if isinstance(photo, Skipped):
                return refusal(photo, query.query)
            return self._finish(query.query, contents, photo, embed_photos(self._models, [photo])[0])
        finally:
            self._reader.release()

    def _of_pixels(self, query: str, pixels: ByteArray) -> QueryPhoto:
        """Find the faces of a photo given as pixels, uint8 (h, w, 3), RGB; its digest is that of the pixels."""
        contents = _given(query, pixels.tobytes())
        photo = Photo(contents.file, contents.digest, pixels)
        return self._finish(query, contents, photo, embed_photos(self._models, [photo])[0])

    def _contents(self, query: PhotoQuery) -> FileContents | Skipped:
        if isinstance(query.content, bytes):
            return _given(query.path, query.content)
        if query.path == STDIN:
            return self._reader.read_stream(self._stdin or io.BytesIO(), STDIN)
        file = stat_photo(query.path)
        return file if isinstance(file, Skipped) else self._reader.read(file)

    def _finish(self, query: str, contents: FileContents, photo: Photo, found: IndexedPhoto) -> QueryPhoto:
        order = area_order(found.detections.boxes)
        crops = align_faces(photo.pixels, found.detections.landmarks[order]) if self._options.crops else None
        return QueryPhoto(
            query,
            contents.file,
            contents.digest,
            _sha256(contents.data) if self._options.sha256 else "",
            contents if query == STDIN else None,
            tuple(_query_face(query, number, found, int(row)) for number, row in enumerate(order, 1)),
            crops,
        )


def _given(name: str, data: bytes) -> FileContents:
    """The contents of a photo that is not a file."""
    return FileContents(PhotoFile(name, len(data), 0), xxhash.xxh3_128_digest(data), data)


def _sha256(data: bytes) -> str:
    import hashlib  # noqa: PLC0415  # loads OpenSSL, and few searches need it

    return hashlib.sha256(data).hexdigest()


def area_order(boxes: FloatArray) -> NDArray[np.intp]:
    """The row numbers of `boxes`, (n, 4) of x1, y1, x2, y2 in pixels, by descending area, ties by x: intp (n,)."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.lexsort((boxes[:, 0], -sides[:, 0] * sides[:, 1]))


def _query_face(query: str, number: int, photo: IndexedPhoto, row: int) -> QueryFace:
    x1, y1, x2, y2 = map(float, photo.detections.boxes[row])
    return QueryFace(query, number, (x1, y1, x2, y2), float(photo.detections.scores[row]), photo.embeddings[row])
