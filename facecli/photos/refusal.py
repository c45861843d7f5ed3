"""The reason why a photo is refused, on its way from a decoder to the `Skipped` that the caller gets."""

from __future__ import annotations

from facecli.types import PhotoFile, Skipped, SkipReason


class Refusal(Exception):
    """A photo that cannot be read; never leaves this package."""

    def __init__(self, reason: SkipReason, detail: str, refused_by: str = "") -> None:
        super().__init__(reason, detail, refused_by)
        self.reason = reason
        self.detail = detail
        self.refused_by = refused_by

    def skip(self, file: PhotoFile) -> Skipped:
        """As a value about a file."""
        return Skipped(file, self.reason, self.detail, self.refused_by)
