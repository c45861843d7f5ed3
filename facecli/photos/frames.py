"""A frame as a viewer shows it, and the memory that frames are decoded into."""

from __future__ import annotations

import numpy as np

from facecli.photos.picture import is_transposed
from facecli.types import ByteArray


def make_upright(pixels: ByteArray, orientation: int, spare: ByteArray) -> ByteArray:
    """Pixels as a viewer shows them.

    `pixels` is uint8 (h, w, 3), contiguous; `spare` is uint8 with h * w * 3 elements, used where width and height are
    swapped. Flips are views, so the result may have negative strides: it is never copied here.
    """
    if is_transposed(orientation):
        import cv2  # noqa: PLC0415  # an index run over unchanged photos needs none of it

        height, width = pixels.shape[:2]
        turned = spare.reshape(width, height, 3)
        pixels = cv2.transpose(pixels, dst=turned)  # type: ignore[assignment]
    match orientation:
        case 2 | 6:
            return pixels[:, ::-1]
        case 3 | 7:
            return pixels[::-1, ::-1]
        case 4 | 8:
            return pixels[::-1]
        case _:
            return pixels


class FrameBuffer:
    """Memory for one frame, reused for the next.

    Fresh memory of 36 MB costs more page faults than decoding its JPEG.
    """

    KEEP = 64_000_000

    def __init__(self) -> None:
        self._bytes: ByteArray = np.empty(0, np.uint8)

    def take(self, size: int) -> ByteArray:
        """Uint8 (size,), uninitialised, valid until the next call."""
        if size > self._bytes.size:
            self._bytes = np.empty(0, np.uint8)  # the old one is given back before the new one is asked for
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size]

    def give_back(self) -> None:
        """Let a large one go."""
        if self._bytes.size > self.KEEP:
            self._bytes = np.empty(0, np.uint8)
