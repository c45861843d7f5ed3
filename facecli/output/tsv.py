"""Matches as tab-separated rows without a header: similarity, path, face id, box."""

from __future__ import annotations

from facecli.output.paths import tsv_path
from facecli.output.records import PathStyle, box_text, similarity_text
from facecli.output.sink import Sink
from facecli.types import SearchResult


class TsvWriter:
    """Writes one row per match."""

    def __init__(self, stream: Sink, style: PathStyle) -> None:
        self._stream, self._style = stream, style

    def begin(self) -> None:
        """Do nothing: there is no header."""

    def write(self, result: SearchResult) -> None:
        """Write the rows of one result."""
        for match in result.matches:
            path = tsv_path(self._style.show(match.path))
            rest = f"\t{match.face_id}\t{box_text(match.box)}\n"
            self._stream.write(similarity_text(match.similarity).encode() + b"\t" + path + rest.encode())

    def end(self) -> None:
        """Do nothing: there is no footer."""
