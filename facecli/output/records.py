"""Values of records and cells that several layouts share: paths, boxes, similarities, JSON."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from facecli.output.paths import shown_path
from facecli.types import Box, JsonValue


class PathStyle(Struct, frozen=True):
    """Whether paths are printed absolute or relative to the working directory."""

    absolute: bool
    working_directory: str

    def show(self, path: str) -> str:
        """Format a path for output."""
        return shown_path(path, absolute=self.absolute, working_directory=self.working_directory)


def box_record(box: Box) -> list[JsonValue]:
    """Round a box to hundredths of a pixel, for JSON."""
    return [round(edge, 2) for edge in box]


def size_record(box: Box) -> list[JsonValue]:
    """Width and height of a box, in hundredths of a pixel, for JSON."""
    x1, y1, x2, y2 = box
    return [round(x2 - x1, 2), round(y2 - y1, 2)]


def size_text(box: Box) -> str:
    """Width and height of a box in whole pixels: 60x80."""
    x1, y1, x2, y2 = box
    return f"{x2 - x1:.0f}x{y2 - y1:.0f}"


def similarity_text(similarity: float) -> str:
    """Format a similarity with 4 decimals; never -0.0000."""
    return f"{round(similarity, 4) + 0.0:.4f}"


def json_line(record: Mapping[str, JsonValue]) -> bytes:
    """Encode a record as one line of JSON."""
    return json_bytes(record) + b"\n"


def json_bytes(value: JsonValue | Mapping[str, JsonValue]) -> bytes:
    """Encode a value as JSON, in UTF-8 in every locale.

    Characters that a terminal would obey or not show are written as JSON escapes.
    """
    import json  # noqa: PLC0415 (only some formats need it)

    text = json.dumps(value, ensure_ascii=False)
    if not text.isprintable():
        text = "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in _repaired(text))
    return text.encode()


def _repaired(text: str) -> str:
    """Decode the surrogates of a file name as UTF-8 again, with replacement characters for invalid bytes."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
