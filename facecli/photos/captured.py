"""Read from a photo's EXIF data when, where and with what it was taken; whatever is wrong there is left out."""

from __future__ import annotations

import re
import struct
from datetime import datetime

from facecli.captures import LONGEST_NAME, Capture, wall_time
from facecli.photos.exif import orientation_of_exif
from facecli.photos.jpeg import exif_of_jpeg
from facecli.photos.refusal import Refusal
from facecli.photos.sniff import HEAD as SNIFFED
from facecli.photos.sniff import ImageFormat, sniff

HEAD = 1 << 18
"""The bytes at the beginning of a JPEG that hold its EXIF data: four segments."""
_MAKE, _MODEL, _ORIENTATION, _EXIF_AT, _GPS_AT = 0x010F, 0x0110, 0x0112, 0x8769, 0x8825
_TAKEN, _DIGITISED = 0x9003, 0x9004
_OFFSETS, _SUBSECONDS = {_TAKEN: 0x9011, _DIGITISED: 0x9012}, {_TAKEN: 0x9291, _DIGITISED: 0x9292}
_LATITUDE, _LONGITUDE = (1, 2, b"NS", 90), (3, 4, b"EW", 180)
"""The tags of a reference and of degrees, minutes and seconds; the letters of the reference; the most degrees."""
_FIRST = {_MAKE, _MODEL, _EXIF_AT, _GPS_AT}
_IN_EXIF = {_TAKEN, _DIGITISED, *_OFFSETS.values(), *_SUBSECONDS.values()}
_IN_GPS = {1, 2, 3, 4}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8, 13: 4, 16: 8}
"""Bytes of the types of values that are read."""
_MOST_ENTRIES, _MOST_BYTES = 4096, 256
_TIME = re.compile(rb"(\d{4})[:\-/.](\d\d)[:\-/.](\d\d)[ T](\d\d):(\d\d):(\d\d)")
_OFFSET = re.compile(rb"([+-])(\d\d):?(\d\d)")
_FIRST_YEAR = 1826
"""The year of the first photograph."""
_OF_MAKERS = (b"IIRO", b"IIRS", b"IIU\0", b"MMOR")
_STARTS = (b"II*\0", b"MM\0*", *_OF_MAKERS)
"""The beginnings of TIFF structures, of which four are those of camera makers."""
_BIG = (b"II+\0", b"MM\0+")
_MARKS = (
    *(b"Exif\0\0II*\0", b"Exif\0\0MM\0*", b"eXIfII*\0", b"eXIfMM\0*"),
    *(b"II*\0\x10\0\0\0ExifMeta", b"MM\0*\0\0\0\x10ExifMeta", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"),
)
"""What EXIF data begins with in other containers: its name and a TIFF structure, one of exiftool's, or one with its
first directory at the usual place."""
_CANON = b"ftypcrx "
_EXIF_MARKS, _GPS_MARKS = (b"CMT2II*\0", b"CMT2MM\0*"), (b"CMT4II*\0", b"CMT4MM\0*")
_TURNED_BY_EXIF = (
    ImageFormat.JPEG,
    ImageFormat.TIFF,
    ImageFormat.PNG,
    ImageFormat.WEBP,
    ImageFormat.AVIF,
    ImageFormat.RAW,
)
_Entry = tuple[int, int, bytes]
_Tags = dict[int, _Entry]


def capture_of(data: bytes) -> Capture:
    """What a photo's file says; `data` may be its first HEAD bytes, if it is a JPEG."""
    block = _exif_of(data)
    if not block:
        return Capture()
    tiff = _Tiff(block)
    first = tiff.directory(tiff.first, _FIRST)
    if data.startswith(_CANON, 4):
        (of_exif, exif), (of_gps, gps) = _of_canon(data, _EXIF_MARKS, _IN_EXIF), _of_canon(data, _GPS_MARKS, _IN_GPS)
    else:
        of_exif = of_gps = tiff
        exif = tiff.directory(tiff.number(first.get(_EXIF_AT)), _IN_EXIF)
        gps = tiff.directory(tiff.number(first.get(_GPS_AT)), _IN_GPS)
    latitude, longitude = _position(of_gps, gps)
    taken, offset = _time(of_exif, exif)
    names = (_name(tiff.raw(first.get(tag))) for tag in (_MAKE, _MODEL))
    return Capture(taken, offset, latitude, longitude, *names)


def _of_canon(data: bytes, marks: tuple[bytes, ...], wanted: set[int]) -> tuple[_Tiff, _Tags]:
    """One of the directories of a CR3 file, which are TIFF structures of their own."""
    at = max(data.find(mark) for mark in marks)
    tiff = _Tiff(data[at + 4 :] if at >= 0 else b"")
    return tiff, tiff.directory(tiff.first, wanted)


def orientation_of_file(data: bytes) -> int:
    """The EXIF orientation, 1 to 8, of the stored picture in a file; 1 where readers turn it by other means."""
    if sniff(data[:SNIFFED]) not in _TURNED_BY_EXIF:
        return 1
    block = _exif_of(data)
    if block.startswith(_OF_MAKERS):
        tiff = _Tiff(block)
        found = tiff.number(tiff.directory(tiff.first, {_ORIENTATION}).get(_ORIENTATION))
        return found if 1 <= found <= 8 else 1
    return orientation_of_exif(block) or 1


def is_jpeg(data: bytes) -> bool:
    """Whether data is the beginning of a JPEG file."""
    return data.startswith(b"\xff\xd8")


def _exif_of(data: bytes) -> bytes:
    """The TIFF structure of a photo's EXIF data; empty if it has none."""
    if is_jpeg(data):
        try:
            return exif_of_jpeg(data)
        except Refusal:
            return b""
    if data.startswith((*_STARTS, *_BIG)):
        return data
    for mark in _MARKS:
        at = data.find(mark)
        if at >= 0:
            return data[at + (mark.find(b"II*\0") if b"II" in mark else mark.find(b"MM\0*")) :]
    return b""


class _Tiff:
    """A TIFF structure; what lies beyond its end is not there."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._order = "<" if data[:2] == b"II" else ">"
        self._big = data.startswith(_BIG)
        self.first = self._unpack("Q", 8) if self._big else self._unpack("I", 4)

    def _unpack(self, code: str, at: int) -> int:
        try:
            (number,) = struct.unpack_from(self._order + code, self._data, at)
        except struct.error:
            return 0
        return int(number)

    def directory(self, at: int, wanted: set[int]) -> _Tags:
        """The wanted tags of the directory at an offset; the first of a tag that is there twice."""
        if not at:
            return {}
        count, start = (self._unpack("Q", at), at + 8) if self._big else (self._unpack("H", at), at + 2)
        entry = struct.Struct(self._order + ("HHQ8s" if self._big else "HHI4s"))
        end = min(start + min(count, _MOST_ENTRIES) * entry.size, len(self._data))
        block = self._data[start : end - (end - start) % entry.size if end > start else start]
        found: _Tags = {}
        for tag, kind, number, value in entry.iter_unpack(block):
            if tag in wanted:
                found.setdefault(tag, (kind, number, value))
        return found

    def raw(self, entry: _Entry | None) -> bytes:
        """The bytes of a value; empty if there is none."""
        if entry is None:
            return b""
        kind, count, value = entry
        size = _SIZES.get(kind, 0) * count
        if size <= len(value):
            return value[:size]
        if size > _MOST_BYTES:
            return b""
        at = int.from_bytes(value, "little" if self._order == "<" else "big")
        return self._data[at : at + size] if at + size <= len(self._data) else b""

    def number(self, entry: _Entry | None) -> int:
        """The first integer of a value; 0 if there is none."""
        if entry is None or entry[0] not in (3, 4, 13, 16):
            return 0
        raw = self.raw(entry)[: _SIZES[entry[0]]]
        return int.from_bytes(raw, "little" if self._order == "<" else "big")

    def rationals(self, entry: _Entry | None) -> list[float]:
        """The fractions of a value; empty if one has no denominator, or if it holds none."""
        if entry is None or entry[0] not in (5, 10):
            return []
        raw = self.raw(entry)
        code = "II" if entry[0] == 5 else "ii"
        pairs = list(struct.iter_unpack(self._order + code, raw[: len(raw) - len(raw) % 8]))
        return [above / below for above, below in pairs] if all(below for _, below in pairs) else []


def _time(tiff: _Tiff, exif: _Tags) -> tuple[int | None, int | None]:
    """The time at which the photo was taken, else at which it was digitised, and the offset of the clock."""
    for tag in (_TAKEN, _DIGITISED):
        found = _TIME.match(tiff.raw(exif.get(tag)))
        moment = _moment(found) if found is not None else None
        if moment is not None:
            part = tiff.raw(exif.get(_SUBSECONDS[tag])).split(b"\0")[0].strip()
            milliseconds = int(part[:3].ljust(3, b"0")) if part.isdigit() else 0
            return wall_time(moment) + milliseconds, _offset(tiff.raw(exif.get(_OFFSETS[tag])))
    return None, None


def _moment(found: re.Match[bytes]) -> datetime | None:
    try:
        moment = datetime(*map(int, found.groups()))  # type: ignore[arg-type]  # noqa: DTZ001 (a clock on a wall)
    except ValueError:
        return None
    return moment if moment.year >= _FIRST_YEAR else None


def _offset(raw: bytes) -> int | None:
    text = raw.split(b"\0")[0].strip()
    if text == b"Z":
        return 0
    found = _OFFSET.fullmatch(text)
    if found is None or int(found[2]) > 14 or int(found[3]) > 59:
        return None
    minutes = 60 * int(found[2]) + int(found[3])
    return -minutes if found[1] == b"-" else minutes


def _position(tiff: _Tiff, gps: _Tags) -> tuple[float | None, float | None]:
    """Latitude and longitude; None where one is missing, or both are 0, which devices without a position write."""
    degrees = [_degrees(tiff, gps, axis) for axis in (_LATITUDE, _LONGITUDE)]
    if None in degrees or not any(degrees):
        return None, None
    return degrees[0], degrees[1]


def _degrees(tiff: _Tiff, gps: _Tags, axis: tuple[int, int, bytes, int]) -> float | None:
    reference, value, letters, most = axis
    letter = tiff.raw(gps.get(reference))[:1].upper()
    parts = tiff.rationals(gps.get(value))[:3]
    if not letter or letter not in letters or not parts:
        return None
    degrees = sum(part / unit for part, unit in zip(parts, (1, 60, 3600), strict=False))
    if not 0 <= degrees <= most or any(part < 0 for part in parts):
        return None
    return -degrees if letter in b"SW" else degrees


def _name(raw: bytes) -> str:
    text = raw.split(b"\0")[0].decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:LONGEST_NAME]
