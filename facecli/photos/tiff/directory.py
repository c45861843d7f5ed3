"""The directories of a TIFF or BigTIFF file, read with bounds checks, and which of them is the picture."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from facecli.photos.refusal import Refusal, unreadable
from facecli.types import SkipReason

KIND_OF_PAGE, OLD_KIND_OF_PAGE, WIDTH, HEIGHT = 254, 255, 256, 257
COMPRESSION, PHOTOMETRIC, ORIENTATION, PAGES_BELOW = 259, 262, 274, 330
_OF_CAMERAS = (50706, 34310)
"""Tags that only cameras write: the version of DNG, and a tag of Leaf."""
_OF_SENSORS = (32803, 34892)
"""Photometric interpretations: colour filter array, and linear raw."""
_BY_CAMERAS = (32767, 32769, 32770, 34713, 65000, 65535)
"""Compressions that only cameras write: Sony, packed, Samsung, Nikon, Kodak, Pentax."""
_REDUCED, _MASK, _OLD_REDUCED = 1, 4, 2
_VALUES = {
    1: "B",
    2: "B",
    3: "H",
    4: "I",
    5: "II",
    6: "b",
    7: "B",
    8: "h",
    9: "i",
    10: "ii",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
_MOST_DIRECTORIES = 64


def truncated_tiff(kind: str = "TIFF") -> Refusal:
    """The refusal of a file with offsets beyond its end."""
    return Refusal(SkipReason.TRUNCATED, f"the end of the {kind} file is missing")


class Directory:
    """One directory; the values of its tags are read when they are used."""

    def __init__(self, file: TiffParts, at: int) -> None:
        self._file = file
        self._fields: dict[int, tuple[str, int, int]] = {}
        (count,) = file.numbers("Q" if file.big else "H", at)
        size, start = (20, at + 8) if file.big else (12, at + 2)
        room = 8 if file.big else 4
        if start + size * count > len(file.data):
            raise truncated_tiff()
        for entry in range(start, start + size * count, size):
            tag, kind, values = file.numbers("HHQ" if file.big else "HHI", entry)
            code, place = _VALUES.get(kind, ""), entry + size - room
            if struct.calcsize("=" + code) * values > room:
                (place,) = file.numbers("Q" if file.big else "I", place)
            self._fields.setdefault(tag, (code, values, place))
        self.next_at = start + size * count

    def __contains__(self, tag: int) -> bool:
        return tag in self._fields

    def values(self, tag: int) -> tuple[float, ...]:
        """All numbers of a tag, a rational as two; none if the tag is missing."""
        code, count, place = self._fields.get(tag, ("", 0, 0))
        return (
            self._file.numbers(code[:1] * (len(code) * count) if count < 8 else f"{len(code) * count}{code[:1]}", place)
            if code
            else ()
        )

    def number(self, tag: int, default: int) -> int:
        """The first number of a tag if it is an integer, else `default`."""
        found = self.values(tag)
        return found[0] if found and isinstance(found[0], int) else default

    def raw(self, tag: int) -> bytes:
        """The value of a tag of bytes."""
        code, count, place = self._fields.get(tag, ("", 0, 0))
        if place + count > len(self._file.data):
            raise truncated_tiff()
        return bytes(self._file.data[place : place + count]) if code in ("B", "b") else b""

    @property
    def is_reduced(self) -> bool:
        """Whether it holds a smaller copy of another picture, or a mask for one."""
        return (
            bool(self.number(KIND_OF_PAGE, 0) & (_REDUCED | _MASK)) or self.number(OLD_KIND_OF_PAGE, 0) == _OLD_REDUCED
        )

    @property
    def pixels(self) -> int:
        return self.number(WIDTH, 0) * self.number(HEIGHT, 0)


class TiffParts:
    """The bytes of a TIFF file; raises Refusal if there is no first directory."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.order = "<" if data[:2] == b"II" else ">"
        self.big = 43 in data[2:4]
        self.first = Directory(self, *self.numbers("Q", 8) if self.big else self.numbers("I", 4))

    def numbers(self, codes: str, at: int) -> tuple[int, ...]:
        """Numbers by their `struct` codes, in the file's byte order; raises Refusal beyond the file's end."""
        try:
            return struct.unpack_from(self.order + codes, self.data, at)
        except (struct.error, OverflowError) as error:
            raise truncated_tiff() from error

    def following(self) -> Iterator[Directory]:
        """The directories after the first."""
        at, directory = {0}, self.first
        for _ in range(_MOST_DIRECTORIES):
            (place,) = self.numbers("Q" if self.big else "I", directory.next_at)
            if place in at:
                return
            at.add(place)
            directory = Directory(self, place)
            yield directory

    def below(self) -> Iterator[Directory]:
        """The subdirectories of the first directory."""
        for place in self.first.values(PAGES_BELOW)[:_MOST_DIRECTORIES]:
            if isinstance(place, int):
                yield Directory(self, place)

    def picture(self) -> Directory:
        """The directory of the picture: the first, or the full picture's if the first is a smaller copy."""
        candidates = [self.first, *_sound(self.below())]
        if self.first.is_reduced:
            candidates += _sound(self.following())
        full = [d for d in candidates if not d.is_reduced] or candidates
        return max(full, key=lambda directory: directory.pixels)


def is_raw(data: bytes) -> bool:
    """Whether a TIFF file is a camera's raw file: a DNG, or any file with sensor values."""
    try:
        parts = TiffParts(data)
    except Refusal:
        return False
    directories = [parts.first, *_sound(parts.below()), *_sound(parts.following())]
    return any(_is_of_camera(directory) for directory in directories)


def _is_of_camera(directory: Directory) -> bool:
    try:
        return (
            any(tag in directory for tag in _OF_CAMERAS)
            or directory.number(PHOTOMETRIC, 0) in _OF_SENSORS
            or directory.number(COMPRESSION, 1) in _BY_CAMERAS
        )
    except Refusal:
        return False


def _sound(directories: Iterator[Directory]) -> list[Directory]:
    """The directories before the first broken one; a broken directory besides the picture does not matter."""
    found = []
    try:
        for directory in directories:
            directory.is_reduced, directory.pixels  # noqa: B018  # their values must be readable
            found.append(directory)
    except Refusal:
        pass
    return found


def needs_pixels(directory: Directory) -> tuple[int, int]:
    """Width and height of the picture in a directory; raises Refusal if there is none."""
    width, height = directory.number(WIDTH, 0), directory.number(HEIGHT, 0)
    if width <= 0 or height <= 0:
        raise unreadable("a TIFF file without a size")
    return width, height
