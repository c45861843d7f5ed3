"""Classify a decoder's errors: a fault of the photo, or a temporary failure to read it."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from contextlib import contextmanager

from facecli.photos.budget import NoRoom
from facecli.photos.containers import ends_early
from facecli.photos.refusal import NOT_LOADED, Refusal, unavailable, unreadable, unsupported
from facecli.photos.sniff import ImageFormat
from facecli.types import SkipReason

NO_MEMORY = "not enough memory to decode it"
_SPARE = 1 << 28
"""Bytes that a decoder may need besides those of the file."""
OUT_OF_MEMORY = re.compile(
    "out of memory|insufficient memory|memory allocation fail|cannot allocate|failed to allocate", re.IGNORECASE
)
"""Messages of libraries that ran out of memory."""


@contextmanager
def decoder_faults(form: ImageFormat, data: bytes) -> Iterator[None]:
    """Turn any error of a decoder into a Refusal, so that one broken photo does not end the run."""
    try:
        yield
    except (Refusal, NoRoom):
        raise
    except Exception as error:
        raise _fault(error, form, data) from error


def is_memory_short(size: int) -> bool:
    """Whether `size` bytes, plus those that a decoder needs, cannot be allocated now.

    If so, any error of a decoder may be a lack of memory.
    """
    try:
        mmap.mmap(-1, 3 * size + _SPARE).close()
    except (OSError, MemoryError):
        return True
    return False


def _fault(error: Exception, form: ImageFormat, data: bytes) -> Refusal:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    refusal = _judge(error, said, form, data)
    refusal.said = said
    return refusal


def _judge(error: Exception, said: str, form: ImageFormat, data: bytes) -> Refusal:
    if passing := _what_passes(error, said, len(data)):
        return unavailable(passing)
    unread = "nsupported" in said or "not supported" in said
    if isinstance(error, NotImplementedError) or (
        unread and "marker type" not in said
    ):  # the message of libjpeg for a broken file
        return unsupported(f"a kind of {form} that is not read")
    if "truncated" in said or "not enough image data" in said or _ends_early(form, data):
        return Refusal(SkipReason.TRUNCATED, f"the end of the {form} file is missing")
    return unreadable(f"the {form} file is broken")


def _what_passes(error: Exception, said: str, size: int) -> str:
    """The temporary lack that caused the error; empty if the photo is at fault."""
    if isinstance(error, ImportError):
        return NOT_LOADED
    if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(said):
        return NO_MEMORY
    # An error of the system has an errno, an error of a decoder has none.
    if isinstance(error, OSError) and error.errno:
        return "the system refused its decoder a resource"
    return NO_MEMORY if is_memory_short(size) else ""


def _ends_early(form: ImageFormat, data: bytes) -> bool:
    try:
        return ends_early(form, data)
    except Refusal as refusal:
        return refusal.reason is SkipReason.TRUNCATED
