"""The reason why a photo is refused, on its way from a decoder to the `Skipped` that the caller gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from facecli.types import PhotoFile, Skipped, SkipReason

NOT_LOADED = "its reader could not be loaded; if this persists, facecli doctor shows why"


class Refusal(Exception):
    """A photo that cannot be read; never leaves this package."""

    def __init__(self, reason: SkipReason, detail: str, refused_by: str = "", said: str = "") -> None:
        super().__init__(reason, detail, refused_by, said)
        self.reason = reason
        self.detail = detail
        self.refused_by = refused_by
        self.said = said
        """What the library said, in its own words; for --verbose."""

    def skip(self, file: PhotoFile) -> Skipped:
        """As a value about a file."""
        return Skipped(file, self.reason, self.detail, self.refused_by)


def unavailable(detail: str, said: str = "") -> Refusal:
    """A photo that cannot be read just now, which says nothing of its content."""
    return Refusal(SkipReason.UNAVAILABLE, detail, said=said)


def unsupported(detail: str) -> Refusal:
    """A sound photo of a kind that isn't read."""
    return Refusal(SkipReason.UNSUPPORTED, detail)


def unreadable(detail: str) -> Refusal:
    """A photo whose content is broken."""
    return Refusal(SkipReason.UNREADABLE, detail)


@contextmanager
def loading() -> Iterator[None]:
    """Around the import of a reader: that it fails says nothing of the photo."""
    try:
        yield
    except Exception as error:
        raise unavailable(NOT_LOADED, said=f"{type(error).__name__}: {error}") from error
