"""Compare every output format of a search with its golden file; a missing golden file is a failure."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import numpy as np
import pytest

from facecli.output.formats import OutputFormat, open_result_writer
from facecli.output.records import FIELDS, PathStyle
from facecli.output.terminal import Terminal, columns_of
from facecli.types import Judgement, Match, QueryFace, SearchResult, Sureness

GOLDEN = Path(__file__).parent.parent / "golden"
STYLE = PathStyle(absolute=False, working_directory="/home/zoë")
NOTHING = np.zeros(512, np.float32)


def face(query: str, number: int = 1) -> QueryFace:
    return QueryFace(query, number, (10.126, 20.5, 110.25, 140.75), 0.87654321, NOTHING)


def match(rank: int, similarity: float, path: str, face_id: int) -> Match:
    return Match(rank, similarity, face_id, path, (1.4, 2.5, 30.006, 40.0), 0.75)


def judgements(*pairs: tuple[Sureness, float | None]) -> tuple[Judgement, ...]:
    return tuple(Judgement(sureness, margin) for sureness, margin in pairs)


ODD = os.fsdecode(b"/home/zo\xc3\xab/album/latin-\xe9.jpg")
RESULTS = (
    SearchResult(
        face("me.jpg"),
        (
            match(1, 0.63314567, "/home/zoë/album/sport/players.jpg", 12),
            match(2, 0.4, "/home/zoë/album/tab\tnew\nline\\.jpg", 3),
            match(3, 0.35, "/mnt/disk/姚明/一.jpg", 1234567),
            match(4, 0.281, ODD, 4),
        ),
        judgements=judgements(
            (Sureness.SURE, 0.4219), (Sureness.LIKELY, 0.0671), (Sureness.UNSURE, -0.0401), (Sureness.UNSURE, None)
        ),
    ),
    SearchResult(face("none.jpg"), ()),
    SearchResult(
        face("us.jpg", 2),
        (match(1, 0.5, "/home/zoë/album/sport/players.jpg", 13),),
        judgements=judgements((Sureness.SURE, None)),
    ),
)


def written(form: OutputFormat, terminal: Terminal | None = None, results: tuple[SearchResult, ...] = RESULTS) -> bytes:
    stream = io.BytesIO()
    writer = open_result_writer(form, stream, STYLE, terminal or Terminal(width=100))
    writer.begin()
    for result in results:
        writer.write(result)
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
    lines = written(OutputFormat.TABLE, Terminal(width=70)).decode().splitlines()
    assert max(map(columns_of, lines)) <= 70
    assert any("album/…" in line or "…" in line for line in lines)


def test_a_table_without_judgements_has_no_column_for_them() -> None:
    bare = (SearchResult(face("me.jpg"), RESULTS[0].matches),)
    header = written(OutputFormat.TABLE, results=bare).decode().splitlines()[1].split()
    assert header == ["rank", "alike", "path", "face", "box"]


def test_json_and_csv_hold_the_same_records() -> None:
    records = [json.loads(line) for line in written(OutputFormat.JSON).splitlines()]
    rows = list(csv.DictReader(io.StringIO(written(OutputFormat.CSV).decode("utf-8", "replace"))))
    assert [list(r) for r in rows] == [list(FIELDS)] * 5
    for record, row in zip(records, rows, strict=True):
        flat = {k: ",".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in record.items() if k in FIELDS}
        assert row == flat


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
    assert written(OutputFormat.CSV, results=empty).decode() == ",".join(FIELDS) + "\n"
