"""Decode TIFF files and the flattened picture of a PSD, which is stored alike, chunk by chunk into RGB."""

from __future__ import annotations

import numpy as np
from msgspec.structs import replace

from facecli.photos.picture import Header
from facecli.photos.tiff.chunks import Chunk, Samples
from facecli.photos.tiff.colours import spread_ycbcr, to_rgb
from facecli.photos.tiff.directory import ORIENTATION, TiffParts
from facecli.photos.tiff.layout import Colours, Packing, SampleLayout, check_chunks, layout_of
from facecli.photos.tiff.psd import psd_layout
from facecli.types import ByteArray

_COST = 24
_BAND = 1 << 20
"""Pixels unpacked at once."""


class ChunkPicture:
    """A file's bytes with a picture of a known layout."""

    def __init__(self, data: bytes, layout: SampleLayout, orientation: int = 1) -> None:
        self._data, self._layout = data, layout
        self.header = Header(layout.width, layout.height, orientation if 1 <= orientation <= 8 else 1, _COST)

    def read_into(self, frame: ByteArray) -> str:
        """See `Picture`."""
        layout = self._layout
        for number in range(layout.across * layout.down):
            top, left = number // layout.across * layout.chunk_height, number % layout.across * layout.chunk_width
            self._read_chunk(number, frame[top : top + layout.chunk_height, left : left + layout.chunk_width])
        return ""

    def _read_chunk(self, number: int, part: ByteArray) -> None:
        """Fill the part of the frame that a chunk covers; a chunk may extend beyond the picture."""
        layout = self._layout
        rows = layout.chunk_height if layout.tiled else part.shape[0]
        each = layout.across * layout.down
        chunks = [
            Chunk(layout, self._data, number + plane * each, rows)
            for plane in range(layout.samples if layout.separate else 1)
        ]
        colours = _decoded(layout)
        step = max(1, _BAND // layout.chunk_width)
        whole = (
            spread_ycbcr(chunks[0].stored, (rows, layout.chunk_width), layout.subsampling)
            if layout.is_subsampled
            else None
        )
        for top in range(0, part.shape[0], step):
            bottom = min(top + step, part.shape[0])
            samples: Samples = (
                whole[top:bottom]
                if whole is not None
                else np.concatenate([c.band(top, bottom) for c in chunks], axis=2)
            )
            part[top:bottom] = to_rgb(samples[:, : part.shape[1]], colours)


def open_tiff(data: bytes) -> ChunkPicture:
    """Open a TIFF file; raises Refusal if it is broken or not supported."""
    parts = TiffParts(data)
    directory = parts.picture()
    layout = layout_of(directory)
    check_chunks(layout, data)
    # If the first directory is a smaller copy of the picture, its orientation holds for both.
    return ChunkPicture(data, layout, directory.number(ORIENTATION, parts.first.number(ORIENTATION, 1)))


def open_psd(data: bytes) -> ChunkPicture:
    """Open the flattened picture of a Photoshop document; raises Refusal if it is broken or not supported."""
    return ChunkPicture(data, psd_layout(data))


def _decoded(layout: SampleLayout) -> SampleLayout:
    """The layout of the decoded chunks: a JPEG decoder has already turned YCbCr into RGB."""
    if layout.packing is Packing.JPEG and layout.colours is Colours.YCBCR and not layout.separate:
        return replace(layout, colours=Colours.RGB)
    return layout
