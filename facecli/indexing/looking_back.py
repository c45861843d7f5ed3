"""Photos that an earlier version indexed: their files are asked when and where they were taken."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from facecli.captures import Capture
from facecli.photos.captured import HEAD, capture_of, is_jpeg
from facecli.reporting import Reporter
from facecli.store.writer import IndexWriter
from facecli.types import PhotoFile
from facecli.wording import counted

MOST_BYTES = 256 << 20
"""The largest file that is read, unless it is a JPEG, of which the beginning is enough."""


def look_back(store: IndexWriter, reporter: Reporter, stop: Callable[[], int]) -> int:
    """Record the captures of known photos whose files are as they were; returns how many.

    They are committed in portions, so that a run that is stopped has less to do when it is run again. Photos that
    cannot be reached wait for another run.
    """
    count = last = 0
    while (some := store.unlooked(last)) and not stop():
        last = some[-1][0]
        found = [(photo_id, capture) for photo_id, file in some if (capture := look_at(file)) is not None]
        if found:
            store.note_captures(found)
        count += len(found)
    if count:
        reporter.detail(f"read the time and place of {counted(count, 'photo')} that an earlier version indexed")
    return count


def look_at(file: PhotoFile) -> Capture | None:
    """What the file of a photo says; None if it is not as it was indexed, or cannot be read."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError):
        return None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or not PhotoFile.seen(file.path, state).looks_like(file):
            return None
        head = os.read(descriptor, HEAD)
        if is_jpeg(head) or len(head) == state.st_size:
            return capture_of(head)
        return capture_of(_whole(descriptor, state.st_size)) if state.st_size <= MOST_BYTES else Capture()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _whole(descriptor: int, size: int) -> bytes:
    parts, at = [], 0
    while at < size and (part := os.pread(descriptor, size - at, at)):
        parts.append(part)
        at += len(part)
    return b"".join(parts)
