"""Read query photos and find their faces, in order, on as many processors as there is work for."""

from __future__ import annotations

import io
import itertools
from collections.abc import Generator, Sequence
from typing import BinaryIO, TypeAlias

import numpy as np
import xxhash
from msgspec import Struct
from numpy.typing import NDArray

from facecli.config import ReadOptions
from facecli.errors import PackError, PhotoError
from facecli.photos.budget import NoRoom, PixelBudget, default_budget
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.photos.frames import BatchSpace, PartOfBatch
from facecli.searching.grouped_models import GroupedModels
from facecli.searching.in_order import work_in_order
from facecli.searching.opening import ModelSource
from facecli.searching.query_parser import STDIN, PhotoQuery, refusal
from facecli.similarity.lengths import have_unit_length
from facecli.system import count_processors
from facecli.types import ByteArray, FileContents, FloatArray, IndexedPhoto, Photo, PhotoFile, QueryFace, Skipped
from facecli.vision.recognition.alignment import align_faces

GROUP = 16
"""Photos in a batch of a device; each processor fills one of its own meanwhile."""


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

    The models are opened for the first photo; a caller that may leave the generator early must close it. Raises
    DeviceError and PackError.
    """
    if not queries:
        return
    opened = source.open(len(queries))
    groups = GroupedModels(opened.every, source.report)
    budget = default_budget()
    threads = count_processors()
    size = GROUP if opened.models.batched else 1
    share = budget.pixels.total // threads if opened.models.batched else None
    yield from itertools.chain.from_iterable(
        work_in_order(
            [queries[start : start + size] for start in range(0, len(queries), size)],
            lambda: _Worker(groups, _reader(options, budget, share), options, stdin),
            threads,
        )
    )


def _reader(options: ReadingOptions, budget: PixelBudget, share: int | None) -> PhotoReader:
    """A reader for one photo at a time, or for a group of photos in `share` bytes."""
    reader = PhotoReader(options.reading, budget)
    if share is not None:
        reader.space = PartOfBatch(BatchSpace(share))
    return reader


class _Loaded(Struct, frozen=True, eq=False):
    query: str
    contents: FileContents
    photo: Photo


class _Worker:
    """Reads groups of photos one after another; each thread has its own."""

    def __init__(
        self, models: GroupedModels, reader: PhotoReader, options: ReadingOptions, stdin: BinaryIO | None
    ) -> None:
        self._models, self._reader, self._options, self._stdin = models, reader, options, stdin

    def close(self) -> None:
        """Free the reader's memory."""
        self._reader.close()

    def __call__(self, queries: Sequence[PhotoQuery]) -> list[Read]:
        """The faces of each photo of a group."""
        found: dict[int, Read] = {}
        loaded: dict[int, _Loaded] = {}
        try:
            for number, query in enumerate(queries):
                self._load(number, query, loaded, found)
            self._find(loaded, found)
        finally:
            self._reader.release()
        return [found[number] for number in range(len(queries))]

    def _load(self, number: int, query: PhotoQuery, loaded: dict[int, _Loaded], found: dict[int, Read]) -> None:
        """Decode a photo into the group, or find the group's faces first if it has no memory for one more."""
        if isinstance(query.content, np.ndarray):
            contents = _given(query.query, query.content.tobytes())
            loaded[number] = _Loaded(query.query, contents, Photo(contents.file, contents.digest, query.content))
            return
        read = self._contents(query)
        if isinstance(read, Skipped):
            found[number] = refusal(read, query.query)
            return
        try:
            photo = self._reader.decode(read)
        except NoRoom:
            self._find(loaded, found)
            photo = self._reader.decode(read)
        self._reader.release_file()
        if isinstance(photo, Skipped):
            found[number] = refusal(photo, query.query)
        else:
            loaded[number] = _Loaded(query.query, read, photo)

    def _find(self, loaded: dict[int, _Loaded], found: dict[int, Read]) -> None:
        """Find the faces of the loaded photos, whose pixels are then no longer needed."""
        photos = self._models.embed([each.photo for each in loaded.values()])
        for (number, each), photo in zip(loaded.items(), photos, strict=True):
            found[number] = self._finish(each.query, each.contents, each.photo, photo)
        loaded.clear()
        self._reader.space.clear()

    def _contents(self, query: PhotoQuery) -> FileContents | Skipped:
        if isinstance(query.content, bytes):
            return _given(query.path, query.content)
        if query.path == STDIN:
            return self._reader.read_stream(self._stdin or io.BytesIO(), STDIN)
        file = stat_photo(query.path)
        return file if isinstance(file, Skipped) else self._reader.read(file)

    def _finish(self, query: str, contents: FileContents, photo: Photo, found: IndexedPhoto) -> QueryPhoto:
        if not have_unit_length(found.embeddings):
            hint = "facecli doctor shows whether the device is at fault; else take another pack with -m"
            raise PackError("the model pack gives no embedding of a face", query, hint=hint)
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
