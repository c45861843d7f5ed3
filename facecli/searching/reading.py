"""Query photos become faces, in the order of the queries, on as many processors as there is work for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

import numpy as np
import xxhash
from numpy.typing import NDArray

from facecli.config import ReadOptions
from facecli.errors import PhotoError
from facecli.photos.budget import PixelBudget, default_budget
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.pipeline.stages import find_faces
from facecli.searching.crew import work_in_order
from facecli.searching.naming import STDIN, PhotoQuery, refusal
from facecli.types import ByteArray, FileContents, FloatArray, IndexedPhoto, Photo, PhotoFile, QueryFace, Skipped
from facecli.vision.align import align_faces
from facecli.vision.device import CPU
from facecli.vision.models import FaceModels

ACCELERATOR_BATCH = 4
"""Photos that a detector on a GPU gets at once; on the CPU a batch gains nothing and each photo goes alone."""


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """What is wanted of each photo."""

    reading: ReadOptions
    crops: bool = False
    """Whether to keep the aligned crops of the faces."""
    sha256: bool = False
    """Whether to compute the SHA-256 of the file."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryPhoto:
    """A photo that was named on the command line, with its faces."""

    query: str
    file: PhotoFile
    digest: bytes
    sha256: str
    contents: FileContents | None
    """The bytes of a photo that came through stdin, for none can read them twice."""
    faces: tuple[QueryFace, ...]
    """By falling area, ties by x; numbered from 1."""
    crops: ByteArray | None
    """uint8 (n, 112, 112, 3), RGB: the aligned crops in the order of the faces; None unless wanted."""


Read: TypeAlias = QueryPhoto | PhotoError


def read_photos(models: FaceModels, queries: Sequence[PhotoQuery], options: ReadingOptions, stdin: BinaryIO | None = None) -> Iterator[Read]:
    """Each photo with its faces, or why it cannot be used; in the order of `queries`."""
    size = 1 if models.device.provider == CPU else ACCELERATOR_BATCH
    chunks = [queries[start : start + size] for start in range(0, len(queries), size)]
    # A worker that holds one photo must not wait for room for the next, so only photos that go alone are counted.
    budget = default_budget() if size == 1 else None
    for done in work_in_order(chunks, lambda: _Worker(models, options, budget, stdin)):
        yield from done


class _Worker:
    """Reads chunks of photos; a thread has one of its own, with a reader for each photo of a chunk."""

    def __init__(self, models: FaceModels, options: ReadingOptions, budget: PixelBudget | None, stdin: BinaryIO | None) -> None:
        self._models, self._options, self._budget, self._stdin = models, options, budget, stdin
        self._readers: list[PhotoReader] = []

    def close(self) -> None:
        """Give the readers' memory back."""
        for reader in self._readers:
            reader.close()

    def __call__(self, chunk: Sequence[PhotoQuery]) -> list[Read]:
        """The faces of the photos of one chunk."""
        while len(self._readers) < len(chunk):
            self._readers.append(PhotoReader(self._options.reading, self._budget))
        try:
            opened = [self._open(query, reader) for query, reader in zip(chunk, self._readers, strict=False)]
            photos = [photo for _, photo in (pair for pair in opened if not isinstance(pair, PhotoError))]
            found = iter(find_faces(self._models, photos)) if photos else iter(())
            return [
                pair if isinstance(pair, PhotoError) else self._finish(query.query, pair[0], pair[1], next(found))
                for query, pair in zip(chunk, opened, strict=True)
            ]
        finally:
            for reader in self._readers:
                reader.release()

    def _open(self, query: PhotoQuery, reader: PhotoReader) -> tuple[FileContents, Photo] | PhotoError:
        contents = self._contents(query, reader)
        photo = contents if isinstance(contents, Skipped) else reader.decode(contents)
        if isinstance(contents, Skipped):
            return refusal(contents, query.query)
        return refusal(photo, query.query) if isinstance(photo, Skipped) else (contents, photo)

    def _contents(self, query: PhotoQuery, reader: PhotoReader) -> FileContents | Skipped:
        if query.path == STDIN:
            data = self._stdin.read() if self._stdin is not None else b""
            return FileContents(PhotoFile(STDIN, len(data), 0), xxhash.xxh3_128_digest(data), data)
        file = stat_photo(query.path)
        return file if isinstance(file, Skipped) else reader.read(file)

    def _finish(self, query: str, contents: FileContents, photo: Photo, found: IndexedPhoto) -> QueryPhoto:
        order = area_order(found.detections.boxes)
        crops = align_faces(photo.pixels, found.detections.landmarks[order]) if self._options.crops else None
        return QueryPhoto(
            query,
            contents.file,
            contents.digest,
            hashlib.sha256(contents.data).hexdigest() if self._options.sha256 else "",
            contents if query == STDIN else None,
            tuple(_query_face(query, number, found, int(row)) for number, row in enumerate(order, 1)),
            crops,
        )


def area_order(boxes: FloatArray) -> NDArray[np.intp]:
    """The rows of `boxes` (n, 4: x1, y1, x2, y2) by falling area, ties by x."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return np.lexsort((boxes[:, 0], -sides[:, 0] * sides[:, 1]))


def _query_face(query: str, number: int, photo: IndexedPhoto, row: int) -> QueryFace:
    x1, y1, x2, y2 = map(float, photo.detections.boxes[row])
    return QueryFace(query, number, (x1, y1, x2, y2), float(photo.detections.scores[row]), photo.embeddings[row])
