"""The XMP data within a photo's file."""

from __future__ import annotations

import os
import stat

from facecli.photos.captured import HEAD, is_jpeg

_MOST_BYTES = 256 << 20
"""The largest file of another kind that is searched."""
_BEGIN, _END = b"<x:xmpmeta", b"</x:xmpmeta>"


def embedded_xmp(path: str) -> bytes:
    """The XMP data in a photo; empty if it has none, or cannot be read. It can be anywhere but in a JPEG."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return b""
    with open(descriptor, "rb") as file:
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return b""
            data = file.read(HEAD)
            if not is_jpeg(data):
                data += file.read(_MOST_BYTES)
        except OSError:
            return b""
    at = data.find(_BEGIN)
    end = data.find(_END, at)
    return data[at : end + len(_END)] if 0 <= at < end else b""
