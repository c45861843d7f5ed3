"""Read and decode a photo: read its bytes once, check its header and the limits, decode and turn it upright."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from facecli.config import BOUNDS, ReadOptions, whole_number
from facecli.photos.budget import PixelBudget
from facecli.photos.captured import capture_of
from facecli.photos.faults import decoder_faults
from facecli.photos.files import read_photo, read_stream, stat_photo
from facecli.photos.frames import PhotoSpace, ReusedSpace, make_upright
from facecli.photos.jpeg import ACCEPT_TRUNCATED
from facecli.photos.opening import (
    IN_WORKER,
    OPTIONAL_READERS,
    format_of,
    is_installed,
    open_picture,
    reader_refusal,
)
from facecli.photos.picture import Header, Picture, is_transposed
from facecli.photos.refusal import Refusal, unreadable
from facecli.photos.sniff import ImageFormat
from facecli.types import ByteArray, FileContents, Photo, PhotoFile, Skipped, SkipReason

if TYPE_CHECKING:
    from facecli.photos.isolation import Helper

__all__ = ["PhotoReader", "refusal_holds", "stat_photo"]

_MAX_PIXELS = "max-pixels"
_PASSING = ("read-error", "memory", "helper-process")
"""Reasons of temporary failures that version 0.1 stored as permanent."""
_CHANNELS = 3


class PhotoReader:
    """Reads and decodes photos one after another into reused memory; each worker thread has its own."""

    def __init__(self, options: ReadOptions, budget: PixelBudget | None = None) -> None:
        self._options = options
        self._budget = budget
        self._taken_files = 0
        self.space: PhotoSpace = ReusedSpace(budget.pixels if budget is not None else None)
        """The memory of the next photo."""
        self._helper: Helper | None = None
        self.warning = ""
        """The decoder's own message about the last photo, for --verbose."""

    def read(self, file: PhotoFile) -> FileContents | Skipped:
        """The file's bytes and digest, valid until `release`.

        A file that is not an image, or whose reader is not installed, is not read to its end.

        Like `decode`, this waits while a shared budget is used up.
        """
        self.release()
        return read_photo(file, self._options, self._take_for_file)

    def read_stream(self, stream: BinaryIO, name: str) -> FileContents | Skipped:
        """Like `read`, for the bytes of a pipe."""
        self.release()
        return read_stream(stream, name, self._options, self._take_for_file)

    def decode(self, contents: FileContents, *, isolated: bool = False) -> Photo | Skipped:
        """The photo's pixels, uint8 (h, w, 3), RGB, upright, valid until the next call or `release`.

        `isolated` decodes any format in the helper process. A photo that cannot be decoded is returned as Skipped.
        Raises NoRoom where `space` does.
        """
        self.space.release()
        self.warning = ""
        try:
            pixels = self._decode(contents.data, isolated=isolated)
        except Refusal as refusal:
            self.release()
            self.warning = refusal.said
            return refusal.skip(contents.file)
        return Photo(contents.file, contents.digest, pixels, capture_of(contents.data))

    def release(self) -> None:
        """Give back the budget of the last photo, and its memory if it is large; its pixels are no longer valid.

        Call this after every photo, even a skipped one, and before waiting for the next: other readers wait for the
        budget.
        """
        self.space.release()
        self.release_file()

    def release_file(self) -> None:
        """Give back the budget of the last file; the photo's pixels stay valid."""
        if self._budget is not None and self._taken_files:
            self._budget.files.give(self._taken_files)
        self._taken_files = 0

    def close(self) -> None:
        """End the helper process."""
        self.release()
        if self._helper is not None:
            self._helper.close()

    def _take_for_file(self, size: int) -> None:
        if self._budget is not None:
            self._taken_files = self._budget.files.take(size)

    def _decode(self, data: bytes, *, isolated: bool) -> ByteArray:
        form = format_of(data)
        remote = isolated or form not in IN_WORKER
        with decoder_faults(form, data):
            picture = self._open(form, data, remote=remote)
            self._check_pixels(picture.header)
            if picture.header.hard and not remote:
                remote = True
                picture = self._open(form, data, remote=True)
            self._reserve(picture.header, len(data), remote=remote)
            return self._read_pixels(picture)

    def _open(self, form: ImageFormat, data: bytes, *, remote: bool) -> Picture:
        if not remote:
            return open_picture(form, data, accept_truncated=self._options.accept_truncated)
        if self._helper is None:
            from facecli.photos.isolation import Helper  # noqa: PLC0415  # most runs need no helper process

            self._helper = Helper()
        return self._helper.open_picture(form, data, accept_truncated=self._options.accept_truncated)

    def _check_pixels(self, header: Header) -> None:
        if header.pixels > self._options.max_pixels:
            said = f"{header.width} x {header.height} are more than {self._options.max_pixels} pixels"
            raise Refusal(SkipReason.TOO_LARGE, said, f"{_MAX_PIXELS}={self._options.max_pixels}")
        if not header.pixels:
            raise unreadable("a picture without pixels")

    def _reserve(self, header: Header, size: int, *, remote: bool) -> None:
        frames = 1 + is_transposed(header.orientation) + remote
        # The helper process holds two more copies of the file's bytes.
        self.space.reserve(header.pixels * (_CHANNELS * frames + header.cost) + (2 * size if remote else 0))

    def _read_pixels(self, picture: Picture) -> ByteArray:
        header = picture.header
        frame = self.space.frame(header.pixels * _CHANNELS).reshape(header.height, header.width, _CHANNELS)
        self.warning = picture.read_into(frame)
        spare = self.space.spare(frame.size if is_transposed(header.orientation) else 0)
        return make_upright(frame, header.orientation, spare)


def refusal_holds(refused_by: str, options: ReadOptions) -> bool:
    """Whether what refused a photo in an earlier run (`Skipped.refused_by`) would refuse it again now."""
    name, _, value = refused_by.partition("=")
    match name:
        case "max-pixels":
            limit = whole_number(value, BOUNDS["max_pixels"].most)
            return limit is None or options.max_pixels <= limit
        case "reader":
            return not any(
                reader_refusal(r.package) == refused_by and is_installed(r) for r in OPTIONAL_READERS.values()
            )
        case _:
            if name == ACCEPT_TRUNCATED:
                return not options.accept_truncated
            return name not in _PASSING
