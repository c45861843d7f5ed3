"""JPEG: read the header with bounds checks, and decode the pixels with simplejpeg (libjpeg-turbo)."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from facecli.photos.exif import orientation_of_exif
from facecli.photos.faults import OUT_OF_MEMORY
from facecli.photos.picture import Header
from facecli.photos.refusal import Refusal, loading, unreadable, unsupported
from facecli.photos.sniff import ImageFormat
from facecli.types import ByteArray, SkipReason

ACCEPT_TRUNCATED = "accept-truncated"
_EXIF = b"Exif\0\0"
_END = b"\xff\xd9"
_LATE_HEIGHT = b"\xff\xdc\0\x04"
_BARE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_FRAMES = (frozenset(range(0xC0, 0xD0)) | {0xF7}) - {0xC4, 0xC8, 0xCC}
_UNREAD = {
    **dict.fromkeys((0xC3, 0xCB), "lossless JPEG"),
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xCD, 0xCE, 0xCF), "hierarchical JPEG"),
    0xF7: "JPEG-LS",
}
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_DESCRIPTIONS = frozenset((*range(0xE1, 0xEE), 0xEF, 0xFE))
_MOST_SEGMENTS = 20_000
_HARD_SCANS = 64
"""Cameras and converters write about ten scans; a file with thousands is made to keep a decoder busy."""


class _Frame(Struct):
    width: int
    height: int
    precision: int
    components: int
    progressive: bool
    one_scan: bool = False
    """Whether the first scan holds the whole picture."""


class JpegPicture:
    """A JPEG file's bytes."""

    def __init__(self, data: bytes, *, accept_truncated: bool) -> None:
        self._data = data
        self._accept_truncated = accept_truncated
        frame, orientation = _walk(data)
        if frame.precision != 8:
            raise unsupported(f"JPEG with {frame.precision} bits a sample")
        if frame.components not in (1, 3, 4):
            raise unsupported(f"JPEG of {frame.components} components")
        if not frame.width or not frame.height:
            raise (
                unsupported("JPEG with its height after the picture")
                if _LATE_HEIGHT in data
                else unreadable("JPEG without a size")
            )
        self._one_scan = frame.one_scan
        hard = frame.progressive and data.count(b"\xff\xda") > _HARD_SCANS
        cost = (2 * frame.components if frame.progressive else 0) + (4 if frame.components == 4 else 0)
        self.header = Header(frame.width, frame.height, orientation, cost, hard)

    def read_into(self, frame: ByteArray) -> str:
        """See `Picture`; the pixels equal those of OpenCV, also for CMYK and YCCK."""
        try:
            _decode(self._data, frame, strict=True)
        except ValueError as error:
            complaint = str(error)
            if OUT_OF_MEMORY.search(complaint):
                raise MemoryError(complaint) from error
        else:
            return ""
        if "subsampling" in complaint:
            return self._read_by_pillow(frame)
        return self._read_again(frame, complaint)

    def _read_by_pillow(self, frame: ByteArray) -> str:
        """Decode a chroma subsampling that libjpeg supports and its TurboJPEG interface does not."""
        from facecli.photos.raster import RasterPicture  # noqa: PLC0415  # rarely needed

        return RasterPicture(ImageFormat.JPEG, _with_bare_header(self._data)).read_into(frame)

    def _read_again(self, frame: ByteArray, complaint: str) -> str:
        """Decode again what the strict decoder refused, unless the end is missing; a fatal error is raised again."""
        short = complaint.startswith("Premature end of JPEG file")
        if not short or self._accept_truncated:
            self._decode_leniently(frame, complaint)
            return "the end is missing; used as far as it can be read" if short else complaint
        if self._one_scan and _decodes(
            self._data + _END, frame
        ):  # all pixels are present, only the end marker is missing
            return "the end marker is missing"
        raise Refusal(SkipReason.TRUNCATED, "the end of the JPEG file is missing", ACCEPT_TRUNCATED)

    def _decode_leniently(self, frame: ByteArray, complaint: str) -> None:
        """Decode with libjpeg's warnings ignored; raises Refusal if the last row was not written.

        In this mode simplejpeg reports no error even if libjpeg gave up, and leaves the frame as it was, with the
        pixels of another photo. So the last row is filled with random pixels before and checked afterwards.
        """
        unlikely = np.frombuffer(os.urandom(frame.shape[1] * 3), np.uint8).reshape(-1, 3)
        frame[-1] = unlikely
        try:
            _decode(self._data, frame, strict=False)
        except ValueError:
            _decode(_with_bare_header(self._data), frame, strict=False)
        if np.array_equal(frame[-1], unlikely):
            ended = self._data.rfind(_END) > self._data.rfind(b"\xff\xda")
            detail = "the JPEG file is broken" if ended else "the end of the JPEG file is missing"
            raise Refusal(SkipReason.UNREADABLE if ended else SkipReason.TRUNCATED, detail, said=complaint)


def _decodes(data: bytes, frame: ByteArray) -> bool:
    try:
        _decode(data, frame, strict=True)
    except ValueError:
        return False
    return True


def _decode(data: bytes, frame: ByteArray, *, strict: bool) -> None:
    with loading():
        import simplejpeg  # noqa: PLC0415  # not needed by an index run over unchanged photos

    decoded = simplejpeg.decode_jpeg(data, "RGB", buffer=frame, strict=strict)
    if decoded.shape != frame.shape:
        raise unreadable("the JPEG header has two different sizes")


def _with_bare_header(data: bytes) -> bytes:
    """The file with only those header segments that affect the pixels.

    Garbage and odd versions of JFIF are dropped: libjpeg warns about them, and simplejpeg, always strict with headers,
    turns the warning into an error. EXIF and similar segments are dropped because Pillow warns about them.
    """
    *header, (_, scan, _) = _segments(data)
    parts = (data[at - 2 : at + size] for marker, at, size in header if marker not in _DESCRIPTIONS)
    cleaned = (part[:9] + b"\1\1" + part[11:] if part[4:9] == b"JFIF\0" else part for part in parts)
    return b"".join((data[:2], *cleaned, data[scan - 2 :]))


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments up to and including the first scan: the marker, the offset of its length, and its length."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        marker, at = _next_marker(data, at)
        if marker in _BARE:
            continue
        size = max(2, int.from_bytes(data[at : at + 2], "big"))  # libjpeg skips a length that is too small
        if marker == 0xD9:
            break
        if at + size > len(data):
            raise Refusal(SkipReason.TRUNCATED, "the JPEG file ends in its header")
        yield marker, at, size
        if marker == 0xDA:
            return
        at += size
    raise unreadable("JPEG header without a picture")


def exif_of_jpeg(data: bytes) -> bytes:
    """The EXIF data of a JPEG file, or of its beginning; empty if it has none. Raises Refusal if it has no header."""
    for marker, at, size in _segments(data):
        if marker == 0xE1 and data.startswith(_EXIF, at + 2):
            return data[at + 8 : at + size]
    return b""


def unread_kind(data: bytes) -> str:
    """The kind of a JPEG that is not supported, else an empty string; raises Refusal if it has no header."""
    for marker, at, _ in _segments(data):
        if marker in _FRAMES:
            return _UNREAD.get(marker, "" if data[at + 2] == 8 else f"JPEG with {data[at + 2]} bits a sample")
    return ""


def sampling_of(data: bytes) -> tuple[int, int]:
    """Luma samples per chroma sample, across and down; raises Refusal if there is no header."""
    for marker, at, size in _segments(data):
        if marker in _FRAMES and size > 9:
            return data[at + 9] >> 4, data[at + 9] & 15
    return 1, 1


def _walk(data: bytes) -> tuple[_Frame, int]:
    """The frame header and the EXIF orientation, from the segments before the first scan."""
    frame: _Frame | None = None
    orientation: int | None = None
    for marker, at, size in _segments(data):
        if marker in _FRAMES and frame is None and size >= 8:
            if marker in _UNREAD:
                raise unsupported(_UNREAD[marker])
            frame = _frame_header(data[at + 2 : at + 8], marker)
        elif marker == 0xE1 and orientation is None and data.startswith(_EXIF, at + 2):
            orientation = orientation_of_exif(data[at + 8 : at + size])
        elif marker == 0xDA and frame is not None:
            frame.one_scan = not frame.progressive and data[at + 2] == frame.components
    if frame is None:
        raise unreadable("JPEG header without a picture")
    return frame, orientation or 1


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """The next marker and the offset of its segment; skips garbage and fill bytes as libjpeg does."""
    at = data.find(b"\xff", at)
    while 0 <= at < len(data) and data[at] == 0xFF:
        at += 1
    if not 0 <= at < len(data) - 2:
        raise Refusal(SkipReason.TRUNCATED, "the JPEG file ends in its header")
    return data[at], at + 1


def _frame_header(body: bytes, marker: int) -> _Frame:
    return _Frame(
        int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big"), body[0], body[5], marker in _PROGRESSIVE
    )
