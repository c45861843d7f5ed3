"""Make image files: aligned crops, faces cut out of their photo, and thumbnails of limited size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import cv2
import numpy as np
from msgspec import Struct

from facecli.config import ReadOptions
from facecli.errors import PhotoError
from facecli.photos.budget import PixelBudget, default_budget
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.photos.recorded import Recorded
from facecli.searching.in_order import work_in_order
from facecli.searching.query_parser import refusal
from facecli.types import Box, ByteArray, FileContents, Skipped

FACE_MARGIN = 0.35
"""The margin around a cut-out face, as a share of the longer side of its box."""
JPEG_QUALITY = 80
SIDES = ((100, 480, 160), (400, 360, 160), (1500, 240, 160))
"""The longer side of thumbnails and of cut-out faces, in pixels, for up to a number of photos: (photos, side, face)."""
SMALLEST_SIDES = (160, 112)


class PictureTask(Struct, frozen=True, eq=False):
    """A photo to show, with the boxes of the faces to cut out."""

    original: Recorded
    boxes: tuple[Box, ...]
    contents: FileContents | None = None
    """Its bytes, if it is not read from a file."""


class Pictures(Struct, frozen=True, eq=False):
    """The thumbnail and the cut-out faces of one photo, as JPEG files."""

    width: int
    height: int
    """Of the upright photo, in pixels."""
    thumbnail: bytes
    faces: tuple[bytes, ...]


Made: TypeAlias = Pictures | PhotoError


def sides_for(photos: int) -> tuple[int, int]:
    """The longer side of thumbnails and of cut-out faces, in pixels, on a page of `photos` photos.

    Beyond 1,500 photos a photo takes 13 kB, so that 4,000 of them make 50 MB.
    """
    return next((sides for most, *sides in SIDES if photos <= most), SMALLEST_SIDES)  # type: ignore[return-value]


def make_pictures(tasks: Sequence[PictureTask], options: ReadOptions) -> Iterator[Made]:
    """The pictures of each photo, or the error for a photo that cannot be read, in order."""
    sides, budget = sides_for(len(tasks)), default_budget()
    return work_in_order(tasks, lambda: _Painter(options, budget, sides))


class _Painter:
    def __init__(self, options: ReadOptions, budget: PixelBudget, sides: tuple[int, int]) -> None:
        self._reader, (self._side, self._face_side) = PhotoReader(options, budget), sides

    def close(self) -> None:
        """Free the reader's memory."""
        self._reader.close()

    def __call__(self, task: PictureTask) -> Made:
        """The pictures of one photo."""
        contents = task.contents or self._read(task.original)
        if isinstance(contents, PhotoError):
            return contents
        photo = contents if isinstance(contents, Skipped) else self._reader.decode(contents)
        try:
            if isinstance(photo, Skipped):
                return refusal(photo, task.original.path)
            faces = tuple(_jpeg_bytes(_fit(cut_face(photo.pixels, box), self._face_side)) for box in task.boxes)
            return Pictures(photo.width, photo.height, _jpeg_bytes(_fit(photo.pixels, self._side)), faces)
        finally:
            self._reader.release()

    def _read(self, original: Recorded) -> FileContents | Skipped | PhotoError:
        """The photo's bytes, only if they are what was indexed or searched for; not read if the size differs."""
        file = stat_photo(original.path)
        if isinstance(file, Skipped):
            return file
        contents = self._reader.read(file) if file.size == original.size else None
        if isinstance(contents, Skipped):
            return contents
        return contents if contents is not None and contents.digest == original.digest else original.changed()


def cut_face(pixels: ByteArray, box: Box) -> ByteArray:
    """Cut out the square around a face, clipped to the photo: a view of `pixels`, uint8 (h, w, 3), RGB.

    `box` is x1, y1, x2, y2 in pixels. The result has at least one pixel.
    """
    height, width = pixels.shape[:2]
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half = max(box[2] - box[0], box[3] - box[1]) * (0.5 + FACE_MARGIN)
    left, top = (min(max(round(low - half), 0), most - 1) for low, most in ((x, width), (y, height)))
    right, bottom = (max(round(high + half), low + 1) for high, low in ((x, left), (y, top)))
    return pixels[top:bottom, left:right]


def png_bytes(pixels: ByteArray) -> bytes:
    """Encode `pixels`, uint8 (h, w, 3), RGB, as a PNG file."""
    return _encoded(".png", pixels, [])


def jpeg_pixels(data: bytes) -> ByteArray:
    """Decode a JPEG file made by this module: uint8 (h, w, 3), RGB."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert pixels is not None
    return pixels.astype(np.uint8, copy=False)


def _jpeg_bytes(pixels: ByteArray) -> bytes:
    return _encoded(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1])


def _encoded(ending: str, pixels: ByteArray, settings: list[int]) -> bytes:
    done, data = cv2.imencode(ending, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    assert done
    return data.tobytes()


def _fit(pixels: ByteArray, side: int) -> ByteArray:
    """Shrink `pixels`, uint8 (h, w, 3), to a longer side of at most `side`, by area averaging (cv2.INTER_AREA)."""
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
