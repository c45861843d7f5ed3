"""Turn decoded frames upright, and reuse the memory that they are decoded into."""

from __future__ import annotations

import numpy as np

from facecli.photos.picture import is_transposed
from facecli.types import ByteArray


def make_upright(pixels: ByteArray, orientation: int, spare: ByteArray) -> ByteArray:
    """The pixels turned upright by their EXIF orientation, 1 to 8.

    `pixels` is uint8 (h, w, 3), contiguous; `spare` is uint8 with h * w * 3 elements, used if width and height are
    swapped. The result is uint8 (h, w, 3) or (w, h, 3). Flips are views, never copies, so strides may be negative.
    """
    if is_transposed(orientation):
        import cv2  # noqa: PLC0415  # not needed by an index run over unchanged photos

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

    For a photo of 12 megapixels (36 MB), the page faults of fresh memory take longer than decoding its JPEG.
    """

    KEEP = 64_000_000

    def __init__(self) -> None:
        self._bytes: ByteArray = np.empty(0, np.uint8)

    def take(self, size: int) -> ByteArray:
        """Uint8 (size,), uninitialised, valid until the next call."""
        if size > self._bytes.size:
            self._bytes = np.empty(0, np.uint8)  # free the old memory before allocating the new
            self._bytes = np.empty(size, np.uint8)
        return self._bytes[:size]

    def give_back(self) -> None:
        """Free the memory if it is large."""
        if self._bytes.size > self.KEEP:
            self._bytes = np.empty(0, np.uint8)
