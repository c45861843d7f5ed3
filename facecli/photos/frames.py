"""Turn decoded frames upright, and reuse the memory that they are decoded into."""

from __future__ import annotations

import threading
from typing import Protocol

import numpy as np

from facecli.photos.budget import NoRoom, Share
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


class PhotoSpace(Protocol):
    """The memory that a reader decodes a photo into."""

    def reserve(self, size: int) -> None:
        """Reserve the bytes for a photo and for its decoder; may wait for them. Raises NoRoom."""

    def frame(self, size: int) -> ByteArray:
        """Uint8 (size,), uninitialised, for the photo as stored."""

    def spare(self, size: int) -> ByteArray:
        """Uint8 (size,), uninitialised, for the photo turned upright."""

    def release(self) -> None:
        """Give back what was reserved for the last photo, if its pixels are no longer valid then."""

    def clear(self) -> None:
        """Take back all memory; no photo's pixels are valid any more."""


class ReusedSpace:
    """Memory for one photo at a time; with a share of a budget it waits until that has the bytes."""

    def __init__(self, share: Share | None) -> None:
        self._share, self._taken = share, 0
        self._frame, self._spare = FrameBuffer(), FrameBuffer()

    def reserve(self, size: int) -> None:
        """See `PhotoSpace`."""
        if self._share is not None:
            self._taken = self._share.take(size)

    def frame(self, size: int) -> ByteArray:
        """See `PhotoSpace`."""
        return self._frame.take(size)

    def spare(self, size: int) -> ByteArray:
        """See `PhotoSpace`."""
        return self._spare.take(size)

    def release(self) -> None:
        """See `PhotoSpace`."""
        if self._share is not None and self._taken:
            self._share.give(self._taken)
        self._taken = 0
        self._frame.give_back()
        self._spare.give_back()

    clear = release


class BatchSpace:
    """Memory for the photos of a batch, reused for the next; thread-safe."""

    def __init__(self, size: int) -> None:
        """Hold at most `size` bytes; a photo that needs more is alone in its batch, in memory of its own."""
        # Pages cost memory only once they are written.
        self._bytes = np.empty(size, np.uint8)
        self._used = 0
        self._lock = threading.Lock()

    def part(self, size: int) -> ByteArray:
        """Uint8 (size,), uninitialised, valid until `clear`; raises NoRoom, except in an empty batch."""
        with self._lock:
            if self._used and self._used + size > self._bytes.size:
                raise NoRoom
            start, self._used = self._used, self._used + size
        return self._bytes[start : start + size] if self._used <= self._bytes.size else np.empty(size, np.uint8)

    def clear(self) -> None:
        """Take back all parts."""
        self._used = 0


class PartOfBatch:
    """A photo's part of the memory of a batch; for one reader at a time."""

    def __init__(self, batch: BatchSpace) -> None:
        self._batch = batch
        self._left: ByteArray = np.empty(0, np.uint8)

    def reserve(self, size: int) -> None:
        """See `PhotoSpace`."""
        self._left = self._batch.part(size)

    def frame(self, size: int) -> ByteArray:
        """See `PhotoSpace`."""
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    spare = frame

    def release(self) -> None:
        """See `PhotoSpace`; the batch takes back the memory of all its photos at once."""

    def clear(self) -> None:
        """See `PhotoSpace`."""
        self._batch.clear()
