"""A picture whose header is known and whose pixels can be had."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from facecli.types import ByteArray


class Header(Struct, frozen=True):
    """What a picture's header says, before any pixel is decoded."""

    width: int
    height: int
    orientation: int = 1
    """EXIF orientation that is still to be applied, 1 to 8."""
    cost: int = 0
    """Bytes a pixel that its decoder holds besides the frame."""
    hard: bool = False
    """Whether decoding can take far longer than the size suggests, so that a process with a time limit should do it."""

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
        """Fill `frame`, uint8 (height, width, 3), contiguous, with RGB as the file stores it, not yet turned.

        Gives a warning, or an empty string. Raises Refusal or any error of the decoder.
        """
