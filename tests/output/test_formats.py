"""Compare every output format of a search with its golden file; a missing golden file is a failure."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from facecli.output.csv_rows import LISTS, csv_columns
from facecli.output.formats import OutputFormat, open_list_writer
from facecli.output.matches import MatchLayout, one_each, pairs_of
from facecli.output.photo_faces import FaceLayout
from facecli.output.records import PathStyle
from facecli.output.terminal import Terminal, columns_of
from facecli.types import Confidence, Match, QueryFace, SearchResult

GOLDEN = Path(__file__).parent.parent / "golden"
STYLE = PathStyle(absolute=False, working_directory="/home/zoë")
NOTHING = np.zeros(512, np.float32)


def face(query: str, number: int = 1) -> QueryFace:
    return QueryFace(query, number, (10.126, 20.5, 110.25, 140.75), 0.87654321, NOTHING)


def match(
    rank: int, similarity: float, path: str, face_id: int, confidence: Confidence | None = Confidence.LIKELY
) -> Match:
    return Match(rank, similarity, face_id, path, (1.4, 2.5, 30.006, 40.0), 0.75, confidence)


MISSING = "/mnt/disk/姚明/一.jpg"
ODD = os.fsdecode(b"/home/zo\xc3\xab/album/latin-\xe9.jpg")
RESULTS = (
    SearchResult(
        face("me.jpg"),
        (
            match(1, 0.63314567, "/home/zoë/album/sport/players.jpg", 12),
            match(2, 0.4, "/home/zoë/album/tab\tnew\nline\\.jpg", 3, Confidence.POSSIBLE),
            match(3, 0.35, MISSING, 1234567, Confidence.UNLIKELY),
            match(4, 0.281, ODD, 4, None),
        ),
    ),
    SearchResult(face("none.jpg"), ()),
    SearchResult(
        face("us.jpg", 2),
        (match(1, 0.5, "/home/zoë/album/sport/players.jpg", 13),),
    ),
)


def written(form: OutputFormat, terminal: Terminal | None = None, results: tuple[SearchResult, ...] = RESULTS) -> bytes:
    stream = io.BytesIO()
    writer = open_list_writer(
        form, stream, MatchLayout(STYLE, lambda path: path == MISSING), STYLE, terminal or Terminal(width=100)
    )
    writer.begin()
    for result in results:
        writer.write(pairs_of(result), f"{result.query.query}, face {result.query.number}")
    writer.end()
    return stream.getvalue()


@pytest.mark.parametrize("form", list(OutputFormat))
def test_each_format_is_its_golden_file(form: OutputFormat) -> None:
    assert written(form) == (GOLDEN / f"search.{form}").read_bytes()


def test_a_coloured_table_with_links_is_its_golden_file() -> None:
    assert (
        written(OutputFormat.TABLE, Terminal(width=100, colour=True, links=True))
        == (GOLDEN / "search-coloured.table").read_bytes()
    )


def test_a_narrow_table_shortens_paths_in_the_middle_and_fits() -> None:
    lines = written(OutputFormat.TABLE, Terminal(width=74)).decode().splitlines()
    assert max(map(columns_of, lines)) <= 74
    assert any("album/…" in line or "…" in line for line in lines)


def test_a_table_without_confidence_has_no_column_for_it() -> None:
    bare = (SearchResult(face("me.jpg"), (match(1, 0.6, "/a.jpg", 1, None),)),)
    header = written(OutputFormat.TABLE, results=bare).decode().splitlines()[1].split()
    assert header == ["rank", "similarity", "path", "face", "box"]


def flat(record: dict[str, Any], fields: tuple[str, ...]) -> dict[str, str]:
    """A JSON record as CSV shows it."""
    cells: dict[str, str] = {}
    for field in fields:
        value = record[field]
        cells |= dict(zip(LISTS[field], map(str, value), strict=True)) if field in LISTS else {field: csv_text(value)}
    return cells


def csv_text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def test_json_and_csv_hold_the_same_records() -> None:
    records = [json.loads(line) for line in written(OutputFormat.JSON).splitlines()]
    rows = list(csv.DictReader(io.StringIO(written(OutputFormat.CSV).decode("utf-8", "replace"))))
    assert rows == [flat(record, MatchLayout.fields) for record in records]
    assert len(rows) == 5
    assert {"x1", "y2", "query_x1", "face_id", "confidence"} <= rows[0].keys()


def faces_written(form: OutputFormat) -> str:
    stream = io.BytesIO()
    writer = open_list_writer(form, stream, FaceLayout(STYLE), STYLE, Terminal(width=60))
    writer.begin()
    writer.write([("/home/zoë/us.jpg", face("us.jpg", number)) for number in (1, 2)])
    writer.write([(ODD, face("me.jpg"))])
    writer.end()
    return stream.getvalue().decode("utf-8", "replace")


def test_faces_have_the_same_formats() -> None:
    records = [json.loads(line) for line in faces_written(OutputFormat.JSON).splitlines()]
    rows = list(csv.DictReader(io.StringIO(faces_written(OutputFormat.CSV))))
    assert rows == [flat(record, FaceLayout.fields) for record in records]
    assert list(records[0]) == list(FaceLayout.fields)
    assert faces_written(OutputFormat.TSV).splitlines()[1] == "2\t10,20,110,141\t0.8765\t100x120\tus.jpg"
    assert faces_written(OutputFormat.PATHS).splitlines() == ["us.jpg", "album/latin-\N{REPLACEMENT CHARACTER}.jpg"]


def test_a_table_goes_on_under_one_header() -> None:
    header, *rows = faces_written(OutputFormat.TABLE).splitlines()
    assert header.split() == ["face", "box", "score", "size", "path"]
    assert [row.index(row.split()[-1]) for row in rows] == [header.index("path")] * 3


def test_under_any_the_record_names_the_reference_that_matched() -> None:
    a, b = face("a.jpg"), face("b.jpg", 3)
    both = SearchResult(face("a.jpg,b.jpg"), RESULTS[0].matches[:2], references=(b, a))
    assert [json.loads(line)["query"] for line in written(OutputFormat.JSON, results=(both,)).splitlines()] == [
        "b.jpg",
        "a.jpg",
    ]


def test_no_match_writes_nothing_but_the_header_of_csv() -> None:
    empty = (SearchResult(face("me.jpg"), ()),)
    assert {form: written(form, results=empty) for form in OutputFormat if form is not OutputFormat.CSV} == {
        form: b"" for form in OutputFormat if form is not OutputFormat.CSV
    }
    assert written(OutputFormat.CSV, results=empty).decode() == ",".join(csv_columns(MatchLayout.fields)) + "\n"


def test_a_table_has_one_row_for_the_copies_of_a_photo() -> None:
    """Rows in pipes and records stay one a path."""
    query = QueryFace("q.jpg", 1, (0, 0, 9, 9), 0.9, np.zeros(4, np.float32))
    first = Match(1, 0.9, 5, "/a/1.jpg", (1, 2, 3, 4), 0.8, digest=b"x" * 16, copies=2)
    other = Match(3, 0.7, 7, "/a/3.jpg", (1, 2, 3, 4), 0.8)
    matches = (first, replace(first, rank=2, face_id=6, path="/a/2.jpg"), other)
    pairs = list(pairs_of(SearchResult(query, matches)))
    assert [match.path for _, match in one_each(pairs)] == ["/a/1.jpg", "/a/3.jpg"]
    layout = MatchLayout(PathStyle(absolute=True, working_directory="/"), lambda _: False)
    assert [layout.cells(pair)[-1] for pair in one_each(pairs)] == ["2 copies", ""]
    assert [layout.record(pair)["copies"] for pair in pairs] == [2, 2, 1]
