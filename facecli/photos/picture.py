"""An opened picture: its header is known, its pixels can be decoded."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from facecli.types import ByteArray


class Header(Struct, frozen=True):
    """A picture's size and properties, known before its pixels are decoded."""

    width: int
    height: int
    orientation: int = 1
    """EXIF orientation still to be applied, 1 to 8."""
    cost: int = 0
    """Bytes per pixel that its decoder holds in addition to the frame."""
    hard: bool = False
    """Whether decoding may take far longer than the size suggests, so that a process with a time limit should do it."""

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width * self.height


def is_transposed(orientation: int) -> bool:
    """Whether an EXIF orientation swaps width and height."""
    return orientation in (5, 6, 7, 8)


class Picture(Protocol):
    """A file's bytes, opened by a decoder."""

    header: Header

    def read_into(self, frame: ByteArray) -> str:
        """Fill `frame`, uint8 (height, width, 3), contiguous, with RGB pixels as stored, not yet turned upright.

        Returns a warning or an empty string. Raises Refusal or any error of the decoder.
        """
