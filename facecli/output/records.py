"""Records and text of matches, boxes, similarities and paths, shared by the output formats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec import Struct

from facecli.output.paths import path_record, shown_path
from facecli.types import Box, JsonValue, Match, QueryFace, SearchResult

FIELDS = ("query", "query_face", "query_box", "rank", "similarity", "path", "face", "box", "score")
"""The keys of a match, in order."""


class PathStyle(Struct, frozen=True):
    """Whether paths are printed absolute or relative to the working directory."""

    absolute: bool
    working_directory: str

    def show(self, path: str) -> str:
        """Format a path for output."""
        return shown_path(path, absolute=self.absolute, working_directory=self.working_directory)


def pairs_of(result: SearchResult) -> Iterator[tuple[QueryFace, Match]]:
    """Pair each match with its query face."""
    for number, match in enumerate(result.matches):
        yield (result.references[number] if result.references else result.query), match


def match_record(query: QueryFace, match: Match, style: PathStyle) -> dict[str, JsonValue]:
    """Convert a match to plain values with the keys of FIELDS.

    A name that is not valid UTF-8 is also stored unchanged under an additional key with `_base64`.
    """
    return {
        **path_record(query.query, "query"),
        "query_face": query.number,
        "query_box": box_record(query.box),
        "rank": match.rank,
        "similarity": round(match.similarity, 6),
        **path_record(style.show(match.path)),
        "face": match.face_id,
        "box": box_record(match.box),
        "score": round(match.score, 4),
    }


def box_record(box: Box) -> list[JsonValue]:
    """Round a box to hundredths of a pixel, for JSON."""
    return [round(edge, 2) for edge in box]


def box_text(box: Box) -> str:
    """Format a box in whole pixels: x1,y1,x2,y2."""
    return ",".join(str(round(edge)) for edge in box)


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
