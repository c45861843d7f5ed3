"""Pixels as image files: crops of faces, thumbnails of photos."""

from __future__ import annotations

import cv2

from facecli.types import ByteArray


def png_bytes(pixels: ByteArray) -> bytes:
    """A PNG file of `pixels`, uint8 (h, w, 3), RGB."""
    done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()
