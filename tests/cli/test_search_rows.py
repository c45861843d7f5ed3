"""What `facecli search` prints of many matches and many queries, and what it says of the rest."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facecli.config import SearchOptions
from facecli.searching import search as search_module
from facecli.searching.search import IndexSearch
from facecli.store.reader import IndexReader, open_reader
from facecli.types import FloatArray, Match, SearchResult

if TYPE_CHECKING:
    from conftest import Shell

YAO = "yao.jpg"
EVERY_FACE = ("-t", "none", "--by", "face")


def records(ran: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ran.text.splitlines()]


def test_more_matches_than_rows_are_counted(search: Callable[..., Any]) -> None:
    ran = search(YAO, *EVERY_FACE)
    assert len(ran.text.splitlines()) == 10
    assert ran.errors == "10 of 34 matches; -k 0 shows all\n"
    assert search(YAO, *EVERY_FACE, "-k", "33").errors == "33 of 34 matches; -k 0 shows all\n"
    assert search(YAO, *EVERY_FACE, "-k", "34").errors == ""
    assert search(YAO, *EVERY_FACE, "-q").errors == ""
    assert search("face:1", *EVERY_FACE).errors == "10 of 33 matches; -k 0 shows all\n"
    for how in ("any", "mean"):
        assert "10 of 34 matches" in search(YAO, "eileen.png", *EVERY_FACE, "--combine", how).errors
    several = search(YAO, "eileen.png", "-t", "none", "-k", "2").errors
    assert several == "2 query faces with more than 2 matches; -k 0 shows all\n"


def test_no_more_than_a_limit_are_counted(
    album_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from facecli.cli import search_rows
    from facecli.cli.group import facecli

    for module in (search_module, search_rows):
        monkeypatch.setattr(module, "MOST_COUNTED", 20)
    monkeypatch.chdir(album_home)
    facecli.main(["search", "face:1", *EVERY_FACE], "facecli", standalone_mode=False)
    assert "10 of over 19 matches; -k 0 shows all" in capsys.readouterr().err


def test_a_page_and_copies_take_all_and_the_rows_ten(search: Callable[..., Any], tmp_path: Path) -> None:
    page, copies = tmp_path / "page.html", tmp_path / "copies"
    ran = search(YAO, *EVERY_FACE, "--html", page, "--copy-to", copies)
    assert len(ran.text.splitlines()) == 10
    assert "10 of 34 matches; -k 0 shows all" in ran.errors
    assert f"wrote {page}: 34 matches among 34 faces in 4 photos, " in ran.errors
    assert page.read_text("utf-8").count("<article") == 34
    assert len(list(copies.glob("*.*g"))) == 4
    search(YAO, *EVERY_FACE, "-k", "2", "--html", page)
    assert page.read_text("utf-8").count("<article") == 2


def test_the_page_goes_to_stdout_and_opens_in_a_browser(search: Callable[..., Any], tmp_path: Path) -> None:
    assert search(YAO, "--html", "-").text.endswith("</html>\n")
    assert search(YAO, *EVERY_FACE, "--html", "-", "-k", "2").errors == "2 of 34 matches; -k 0 shows all\n"
    assert "rows, not both" in search(YAO, "--html", "-", "--json", code=2).errors
    assert "--html FILE" in search(YAO, "--open", code=2).errors
    assert "page in a file" in search(YAO, "--open", "--html", "-", code=2).errors
    programs, page = tmp_path / "programs", tmp_path / "page.html"
    programs.mkdir()
    without = {"PATH": str(programs)}
    assert "the page cannot be shown" in search(YAO, "--open", "--html", page, env=without).errors
    for name in ("xdg-open", "open"):
        (programs / name).write_text(f'#!/bin/sh\necho "$1" >{tmp_path}/shown\n')
        (programs / name).chmod(0o755)
    assert "cannot be shown" not in search(YAO, "--open", "--html", page, env=without).errors
    deadline = time.monotonic() + 30
    while not ((tmp_path / "shown").exists() and (tmp_path / "shown").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (tmp_path / "shown").read_text() == f"{page}\n"


def test_photos_that_are_gone_are_marked_and_left_out_of_paths(shell: Shell, album_home: Path) -> None:
    shutil.copytree(album_home, shell.work / "home")
    home = shell.work / "home"
    (home / "album/party/t1.jpg").unlink()

    def search(*arguments: str) -> Any:
        return shell("search", YAO, "-t", "none", *arguments, cwd=home)

    assert [line.split("\t")[4:] for line in search().text.splitlines()] == [[], ["missing"], [], []]
    assert [record["missing"] for record in records(search("--json"))] == [False, True, False, False]
    assert search().errors == "the files of 1 photo are gone; facecli remove --missing drops them\n"
    there = ["album/sport/players.jpg", "album/party/gdp.jpg", "album/space/astronaut.png"]
    assert search("-l").text.splitlines() == there
    assert search("-l").errors == "1 photo left out, whose files are gone; --missing keeps them\n"
    assert search("-0").text.split("\0") == [*there, ""]
    assert len(search("-l", "--missing").text.splitlines()) == 4
    assert search("-l", "--missing").errors == ""


def test_paths_of_photos_that_are_all_gone_are_no_match(shell: Shell, album_home: Path) -> None:
    home = shell.work / "home"
    shutil.copytree(album_home, home)
    (home / "album/sport/players.jpg").unlink()
    ran = shell("search", "-l", YAO, cwd=home, code=1)
    assert (ran.text, ran.errors) == ("", "1 photo left out, whose files are gone; --missing keeps them\n")
    assert shell("search", "-l", "--missing", YAO, cwd=home).text == "album/sport/players.jpg\n"
    assert shell("search", YAO, cwd=home).text.endswith("\tmissing\n")


def test_queries_come_from_a_list(search: Callable[..., Any], tmp_path: Path) -> None:
    lines, ended = tmp_path / "lines", tmp_path / "ended"
    lines.write_text(f"{YAO}\nface:1\n")
    ended.write_bytes(f"{YAO}\0eileen.png\0".encode())
    one = ("-t", "none", "-k", "1", "--json")
    assert [m["query"] for m in records(search("--files-from", lines, *one))] == [YAO, "face:1"]
    assert [m["query"] for m in records(search("--files-from", "-", *one, stdin=lines.read_bytes()))] == [YAO, "face:1"]
    assert [m["query"] for m in records(search("group.jpg", "--files-from", ended, "-0", *one))] == [
        "group.jpg",
        YAO,
        "eileen.png",
    ]
    assert search("--files-from", ended, "-0", "-t", "none", "-k", "1").out.endswith(b".png\0")
    for arguments, said in (
        ((), "nothing to search for"),
        (("--files-from", "/dev/null"), "the list is empty: /dev/null"),
        (("--files-from", "none"), "the list cannot be read (No such file or directory): none"),
        (("-", "--files-from", "-"), "only once"),
    ):
        assert said in search(*arguments, code=2).errors
    assert "an empty name: entry 2 of the list -" in search("--files-from", "-", stdin=b"a\n\nb\n", code=2).errors


def test_each_query_may_have_a_record(search: Callable[..., Any]) -> None:
    queries = ("gone.jpg", YAO, "eileen.png", "face:999", "--all-queries", "--json")
    failed, empty, found, unknown = records(search(*queries, "-t", "0.9", code=2))
    assert failed == {"query": "gone.jpg", "error": "no such photo: gone.jpg"}
    assert (empty["query"], empty["query_face"], empty["matches"]) == (YAO, 1, 0)
    assert empty["nearest"] == pytest.approx(0.633, abs=0.003)
    assert (found["query"], found["rank"]) == ("eileen.png", 1)
    assert (unknown["query"], "error" in unknown) == ("face:999", True)
    assert records(search("gone.jpg", "--all-queries", "--json", code=2))[0]["error"]
    assert "--json" in search(YAO, "--all-queries", code=2).errors


def test_the_first_answer_needs_the_first_query_only(album_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album_home)
    with open_reader(album_home / ".facecli") as reader:
        search = IndexSearch(reader, SearchOptions(threshold="none"))
        with closing(search.answer([YAO, "eileen.png", "group.jpg", "face:1"] * 3)) as answers:
            next(answers)
            assert len(search.photos) == 1
            assert [a.query.query for a in answers][:3] == ["eileen.png", "group.jpg", "face:1"]  # type: ignore[union-attr]


def noted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many queries each scan will be for."""
    sizes: list[int] = []
    nearest = IndexReader.nearest

    def noting(reader: IndexReader, vectors: FloatArray, **asked: Any) -> list[list[Match]]:
        sizes.append(len(vectors))
        return nearest(reader, vectors, **asked)

    monkeypatch.setattr(IndexReader, "nearest", noting)
    return sizes


@pytest.mark.parametrize(
    ("patience", "top", "together"),
    [
        (60, 10, [1, 8, 64, 512, 15]),
        (0, 10, [1, 8, *[64] * 9, 15]),
        (60, 1000, [1, 8, 64, *[131] * 4, 3]),
        (60, 1 << 15, [1, *[4] * 149, 3]),
        (60, 0, [1, 8, *[64] * 9, 15]),
    ],
)
def test_queries_that_come_fast_are_compared_together(
    album_home: Path, monkeypatch: pytest.MonkeyPatch, patience: float, top: int, together: list[int]
) -> None:
    monkeypatch.setattr(search_module, "FAST_SECONDS", patience)
    sizes = noted(monkeypatch)
    with open_reader(album_home / ".facecli") as reader:
        search = IndexSearch(reader, SearchOptions(threshold="none", top=top))
        answers = list(search.answer(["face:1", "face:2"] * 300))
    assert [isinstance(answer, SearchResult) for answer in answers] == [True] * 600
    assert sizes == together


@pytest.mark.parametrize("options", [{"top": 0}, {"top": 10, "bursts": True}])
def test_queries_with_many_matches_are_compared_one_by_one(
    album_home: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    """Where each may have as many as there are faces, they would not fit into the memory together."""
    monkeypatch.setattr(search_module, "MOST_MATCHES", 5)
    sizes = noted(monkeypatch)
    with open_reader(album_home / ".facecli") as reader:
        search = IndexSearch(reader, SearchOptions(threshold="none", **options))
        assert all(isinstance(answer, SearchResult) for answer in search.answer([f"face:{n}" for n in range(1, 13)]))
    assert sizes == [1] * 12


def test_rows_are_there_before_the_next_query_and_after_ctrl_c(shell: Shell, album_home: Path) -> None:
    """The second query waits for an image on stdin, which never comes."""
    command = [sys.executable, "-m", "facecli", "search", YAO, "-", "--json"]
    process = subprocess.Popen(
        command, cwd=album_home, env=shell.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["query"] == YAO
    time.sleep(1)  # so that it waits for stdin, and no longer writes
    process.send_signal(signal.SIGINT)
    assert process.stdout.read() == b""
    assert process.wait(60) == 130
    assert process.stdin is not None
    process.stdin.close()
    process.stdout.close()
