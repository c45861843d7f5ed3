"""How the matches of a search are shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from msgspec.structs import replace

from facecli.output.layout import Column
from facecli.output.paths import path_record
from facecli.output.records import PathStyle, box_record, similarity_text
from facecli.types import Confidence, JsonValue, Match, QueryFace, SearchResult, shown_box

FoundMatch: TypeAlias = tuple[QueryFace, Match]
"""A match with the query face that it was found by."""
COLOURS = {Confidence.LIKELY: "32", Confidence.POSSIBLE: "33", Confidence.UNLIKELY: "31"}


class MatchLayout:
    """The layout of matches."""

    fields: tuple[str, ...] = (
        "query",
        "query_face",
        "query_box",
        "rank",
        "similarity",
        "confidence",
        "path",
        "face",
        "face_id",
        "box",
        "score",
        "taken_at",
        "copies",
        "missing",
    )
    columns = (
        Column("rank", right=True, table_only=True),
        Column("similarity", right=True, coloured=True),
        Column("confidence", coloured=True, table_only=True),
        Column("path", path=True),
        Column("face", right=True),
        Column("box"),
        Column("file"),
        Column("copies", table_only=True),
    )

    def __init__(self, style: PathStyle, is_missing: Callable[[str], bool], *, bursts: bool = False) -> None:
        """With `bursts`, records say how many photos of a burst they stand for."""
        self._style, self._is_missing, self._bursts = style, is_missing, bursts
        if bursts:
            self.fields = (*self.fields, "burst")

    def record(self, pair: FoundMatch) -> dict[str, JsonValue]:
        """Convert a match to plain values with the keys of `fields`.

        A name that is not valid UTF-8 is also stored unchanged under an additional key with `_base64`.
        """
        query, match = pair
        return {
            **path_record(query.query, "query"),
            "query_face": query.number,
            "query_box": box_record(query.box),
            "rank": match.rank,
            "similarity": round(match.similarity, 6),
            "confidence": match.confidence,
            **path_record(self._style.show(match.path)),
            "face": match.face_id,
            "face_id": match.face_id,
            "box": box_record(match.box),
            "score": round(match.score, 4),
            "taken_at": match.taken_at,
            "copies": match.copies,
            "missing": self._is_missing(match.path),
            **({"burst": match.burst} if self._bursts else {}),
        }

    def cells(self, pair: FoundMatch) -> tuple[str, ...]:
        """The cells of a match."""
        _, match = pair
        return (
            str(match.rank),
            similarity_text(match.similarity),
            match.confidence or "",
            self._style.show(match.path),
            str(match.face_id),
            shown_box(match.box),
            "missing" if self._is_missing(match.path) else "",
            others_of(match),
        )

    def path(self, pair: FoundMatch) -> str:
        """The photo of a match."""
        return pair[1].path

    def colour(self, pair: FoundMatch) -> str:
        """Green for a likely match, yellow for a possible one, red for an unlikely one."""
        return COLOURS[pair[1].confidence] if pair[1].confidence is not None else ""


def pairs_of(result: SearchResult) -> Iterator[FoundMatch]:
    """Each match with its query face."""
    for number, match in enumerate(result.matches):
        yield (result.references[number] if result.references else result.query), match


def one_each(pairs: Iterable[FoundMatch]) -> Iterator[FoundMatch]:
    """The matches without further copies of a photo, for a table, which says how many there are."""
    seen: set[tuple[object, ...]] = set()
    for query, match in pairs:
        face = (query.query, query.number, match.digest, match.box) if match.digest else (match.face_id,)
        if face not in seen:
            seen.add(face)
            yield query, match


def without_copies(result: SearchResult) -> SearchResult:
    """A result without further copies of a photo."""
    pairs = list(one_each(pairs_of(result)))
    references = tuple(query for query, _ in pairs) if result.references else ()
    return replace(result, matches=tuple(match for _, match in pairs), references=references)


def others_of(match: Match) -> str:
    """What a row stands for: its copies, its burst; empty for one photo."""
    copies = f"{match.copies} copies" if match.copies > 1 else ""
    burst = f"burst of {match.burst}" if match.burst > 1 else ""
    return ", ".join(filter(None, (copies, burst)))


def empty_record(query: QueryFace, nearest: float | None) -> dict[str, JsonValue]:
    """The record of a query without a match; `nearest` is the similarity of the nearest face."""
    return {
        **path_record(query.query, "query"),
        "query_face": query.number,
        "query_box": box_record(query.box),
        "matches": 0,
        "nearest": None if nearest is None else round(nearest, 6),
    }


def failure_record(query: str, error: str) -> dict[str, JsonValue]:
    """The record of a query that failed."""
    return {**path_record(query, "query"), "error": error}
