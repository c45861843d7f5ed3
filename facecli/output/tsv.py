"""Matches as tab-separated rows without a header: similarity, path, face id, box."""

from __future__ import annotations

from typing import BinaryIO

from facecli.output.paths import tsv_path
from facecli.output.records import PathStyle, box_text
from facecli.types import SearchResult


class TsvWriter:
    """Writes one row a match."""

    def __init__(self, stream: BinaryIO, style: PathStyle) -> None:
        self._stream, self._style = stream, style

    def begin(self) -> None:
        """There is no header."""

    def write(self, result: SearchResult) -> None:
        """The rows of one block."""
        for match in result.matches:
            path = tsv_path(self._style.show(match.path))
            self._stream.write(b"%.4f\t%b\t%d\t%b\n" % (match.similarity, path, match.face_id, box_text(match.box).encode()))

    def end(self) -> None:
        """There is no footer."""
