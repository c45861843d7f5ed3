"""Raw files of cameras, read by LibRaw: the JPEG preview, or the developed picture if no preview is usable."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import rawpy

from facecli.photos.jpeg import JpegPicture
from facecli.photos.picture import Header, is_transposed
from facecli.photos.refusal import Refusal, unreadable
from facecli.types import ByteArray

_ORIENTATION_BY_FLIP = (1, 2, 4, 3, 5, 8, 6, 7)
"""EXIF orientation for each value of LibRaw's `flip`, as in its tiff_head()."""
_LEAST_SIDE = 1000
"""Smallest longer side of a preview in which faces are found as well as in the developed picture, which takes seconds
to make."""
_COST = 24


class RawPicture:
    """A raw file's bytes."""

    def __init__(self, data: bytes) -> None:
        self._raw: Any = rawpy.imread(io.BytesIO(data))
        self._preview = self._find_preview()
        sizes = self._raw.sizes
        if self._preview is not None:
            shown = self._preview.header
            turned = (shown.height > shown.width) is not (sizes.iheight > sizes.iwidth)
            orientation = shown.orientation if shown.orientation > 1 else _ORIENTATION_BY_FLIP[sizes.flip]
            # Some cameras turn the preview but not the sensor's values.
            upright = turned and is_transposed(_ORIENTATION_BY_FLIP[sizes.flip])
            self.header = Header(shown.width, shown.height, 1 if upright else orientation, shown.cost)
        else:
            width, height = sizes.iwidth, sizes.iheight
            if is_transposed(_ORIENTATION_BY_FLIP[sizes.flip]):
                width, height = height, width
            self.header = Header(width, height, 1, _COST)

    def _find_preview(self) -> JpegPicture | None:
        """The camera's JPEG preview, unless it is only a thumbnail."""
        try:
            thumb = self._raw.extract_thumb()
            if thumb.format is not rawpy.ThumbFormat.JPEG:
                return None
            preview = JpegPicture(thumb.data, accept_truncated=False)
        except (rawpy.LibRawError, rawpy.NotSupportedError, Refusal):
            return None
        sizes = self._raw.sizes
        side = max(preview.header.width, preview.header.height)
        return preview if side >= min(_LEAST_SIDE, max(sizes.iwidth, sizes.iheight) // 2) else None

    def read_into(self, frame: ByteArray) -> str:
        """See `Picture`."""
        if self._preview is not None:
            return self._preview.read_into(frame)
        developed = self._raw.postprocess(use_camera_wb=True, output_bps=8)
        if developed.shape != frame.shape:
            raise unreadable("the size in the header is not that of the picture")
        np.copyto(frame, developed)
        return ""
