"""`facecli merge` and `facecli index --part` as their users run them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli import Index, IndexOptions
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer

if TYPE_CHECKING:
    from conftest import Shell


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, make_album: Callable[[Path], Path]) -> Path:
    """The album with the indexes of its two parts."""
    folder = tmp_path_factory.mktemp("parts")
    album = make_album(folder / "album")
    for number in (1, 2):
        Index(folder / f"part{number}").add(album, options=IndexOptions(part=f"{number}/2"))
    return folder


@pytest.fixture
def parts(shell: Shell, made: Path) -> list[str]:
    shutil.copytree(made, shell.work, dirs_exist_ok=True)
    return ["part1", "part2"]


def photos(shell: Shell, index: str) -> list[str]:
    return [line.split("\t")[0] for line in shell("info", "-i", index, "--photos").text.splitlines()]


def test_parts_are_merged_and_answer_as_one(shell: Shell, parts: list[str]) -> None:
    ran = shell("merge", "all", *parts)
    assert ran.out == b""
    assert ran.errors == "4 photos with 34 faces in all; of 4 in 2 indexes 4 new\n"
    shell("index", "-q", "-i", "one", "album")
    assert photos(shell, "all") == photos(shell, "one")
    assert "4 there already" in shell("merge", "all", *reversed(parts)).errors
    report = json.loads(shell("index", "--json", "-i", "all").out)
    assert (report["photos"]["unchanged"], report["photos"]["new"]) == (4, 0), "the roots have come along"


def test_a_name_that_is_not_taken_is_told(shell: Shell, parts: list[str]) -> None:
    shell("people", "assign", "-i", "part1", "Anna", "face:1")
    shell("merge", "all", *parts)
    assert "Anna" in shell("people", "--named", "-i", "all").text
    shell("people", "name", "-i", "part1", "Anna", "Berta")
    ran = shell("merge", "all", *parts)
    assert f"about people in {shell.work / 'part1'}: Berta: person " in ran.errors
    assert " is Anna here, and keeps this name\n" in ran.errors


def test_the_report_is_one_json_object(shell: Shell, parts: list[str]) -> None:
    ran = shell("merge", "--json", "--dry-run", "all", *parts)
    report = json.loads(ran.out)
    assert [Path(shard["path"]).name for shard in report["shards"]] == parts
    assert report["photos"] == {
        **dict.fromkeys(("changed", "unchanged", "kept_out", "again", "superseded", "total"), 0),
        "seen": 4,
        "new": 4,
    }
    assert "nothing was changed" in ran.errors
    assert not (shell.work / "all").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["all"], "Missing argument"),
        (["all", "part1", "none"], "there is no index"),
        (["part1", "part1"], "into itself"),
        (["all", ""], "empty name"),
        (["", "part1"], "empty name"),
        (["-i", "all", "part1", "part2"], "the first argument, not -i"),
        (["album", "part1"], "other files"),
        (["none/all", "part1"], "does not exist"),
    ],
)
def test_what_is_wrong_is_one_line_and_changes_nothing(
    shell: Shell, parts: list[str], arguments: list[str], said: str
) -> None:
    ran = shell("merge", *arguments, code=2)
    assert said in ran.errors
    assert ran.errors.startswith("facecli: error: ")
    assert len(ran.errors.splitlines()) <= 2
    assert sorted(path.name for path in shell.work.iterdir()) == ["album", *parts]


def test_a_variable_names_no_other_target(shell: Shell, parts: list[str]) -> None:
    shell("merge", "all", *parts, env={"FACECLI_INDEX": "part1"})
    assert len(photos(shell, "all")) == 4


def test_another_part_into_an_index_is_refused(shell: Shell, parts: list[str]) -> None:
    ran = shell("index", "--part", "2/2", "-i", parts[0], "album", code=2)
    assert "for part 1/2 of the photos, not part 2/2" in ran.errors
    assert "facecli merge" in ran.errors
    assert shell("index", "--part", "2", "album", code=2).errors.startswith("facecli: error: not a part such as 1/3")
    assert "part        1/2 of the photos" in shell("info", "-i", parts[0]).text
    assert json.loads(shell("info", "--json", "-i", parts[1]).out)["part"] == "2/2"


def test_an_index_in_use_is_waited_for_or_named(shell: Shell, parts: list[str]) -> None:
    shell("merge", "-q", "all", *parts)
    with open_writer(shell.work / "all"):
        assert "another process writes" in shell("merge", "all", *parts, code=2).errors
    with open_writer(shell.work / parts[0]), open_reader(shell.work / parts[1]):
        shell("merge", "-q", "all", *parts)
