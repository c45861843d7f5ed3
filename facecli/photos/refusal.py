"""Refusal: the internal exception for a photo that cannot be read, returned to callers as `Skipped`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from facecli.types import PhotoFile, Skipped, SkipReason

NOT_LOADED = "its reader could not be loaded; if this persists, facecli doctor shows why"


class Refusal(Exception):
    """A photo that cannot be read; not raised outside this package."""

    def __init__(self, reason: SkipReason, detail: str, refused_by: str = "", said: str = "") -> None:
        super().__init__(reason, detail, refused_by, said)
        self.reason = reason
        self.detail = detail
        self.refused_by = refused_by
        self.said = said
        """The library's own message, for --verbose."""

    def skip(self, file: PhotoFile) -> Skipped:
        """The refusal as a `Skipped` for a file."""
        return Skipped(file, self.reason, self.detail, self.refused_by)


def unavailable(detail: str, said: str = "") -> Refusal:
    """A photo that cannot be read at the moment, which says nothing about its content."""
    return Refusal(SkipReason.UNAVAILABLE, detail, said=said)


def unsupported(detail: str) -> Refusal:
    """A photo of a kind that is not supported."""
    return Refusal(SkipReason.UNSUPPORTED, detail)


def unreadable(detail: str) -> Refusal:
    """A photo whose content is broken."""
    return Refusal(SkipReason.UNREADABLE, detail)


@contextmanager
def loading() -> Iterator[None]:
    """Turn a failed import of a reader into a temporary Refusal: it says nothing about the photo."""
    try:
        yield
    except Exception as error:
        raise unavailable(NOT_LOADED, said=f"{type(error).__name__}: {error}") from error
