"""An empty name, as from an unset variable, is an error wherever a path is taken, never the working directory."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli.config import SearchOptions
from facecli.errors import FacecliError, UsageError
from facecli.photos.scan import read_list
from facecli.removing import contents_of
from facecli.reporting import SilentReporter
from facecli.searching.gathering import Surroundings
from facecli.searching.search import search_index
from facecli.searching.verifying import verify_photos
from facecli.store.locate import find_index, place_index
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer
from facecli.vision.packs.resolve import find_pack

if TYPE_CHECKING:
    from conftest import Shell

Find = Callable[[str], Path]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path, find_sample: Find) -> Path:
    """A directory with a photo and its index."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "yao.jpg").write_bytes(find_sample("yaoming.jpg").read_bytes())
    command = [sys.executable, "-m", "facecli", "index", "-q", "yao.jpg"]
    subprocess.run(command, cwd=folder, check=True, env=os.environ | {"XDG_CACHE_HOME": str(shared_cache)})
    return folder


@pytest.fixture
def _photo(shell: Shell, find_sample: Find) -> None:
    """A photo in the working directory."""
    (shell.work / "yao.jpg").write_bytes(find_sample("yaoming.jpg").read_bytes())


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (("index", ""), "PATH"),
        (("index", "yao.jpg", ""), "PATH"),
        (("index", "--files-from", ""), "--files-from"),
        (("index", "-i", "", "yao.jpg"), "--index"),
        (("index", "-m", "", "yao.jpg"), "--model"),
        (("search", ""), "QUERY"),
        (("search", "yao.jpg", ""), "QUERY"),
        (("search", "yao.jpg", "--html", ""), "--html"),
        (("search", "yao.jpg", "--link-to", ""), "--link-to"),
        (("search", "yao.jpg", "--copy-to", ""), "--copy-to"),
        (("search", "yao.jpg", "-i", ""), "--index"),
        (("search", "yao.jpg", "-m", ""), "--model"),
        (("verify", "", "yao.jpg"), "A"),
        (("verify", "yao.jpg", ""), "B"),
        (("faces", ""), "PHOTO"),
        (("faces", "yao.jpg", "--crops", ""), "--crops"),
        (("info", "--index="), "--index"),
        (("check", "-i", ""), "--index"),
        (("remove", ""), "PATH|face:ID"),
        (("remove", "yao.jpg", ""), "PATH|face:ID"),
        (("remove", "--forget", ""), "PATH|face:ID"),
        (("models", "path", ""), "NAME"),
        (("models", "pull", ""), "NAME"),
        (("models", "verify", ""), "NAME"),
        (("calibrate", ""), "DIR"),
    ],
)
def test_an_empty_name_is_an_error_that_says_where(
    shell: Shell, home: Path, arguments: tuple[str, ...], where: str
) -> None:
    ran = shell(*arguments, code=2, cwd=home)
    line, hint = ran.errors.splitlines()
    assert line.startswith("facecli: error: an empty name: ")
    assert where in line
    assert hint.startswith("hint: ")
    assert ran.out == b""
    assert len(shell("info", "--photos", cwd=home).text.splitlines()) == 1


@pytest.mark.parametrize("variable", ["FACECLI_INDEX", "FACECLI_MODEL"])
def test_a_variable_that_is_set_to_nothing_is_no_name(shell: Shell, home: Path, variable: str) -> None:
    ran = shell("search", "yao.jpg", code=2, cwd=home, env={variable: ""})
    assert ran.errors.splitlines() == [
        f"facecli: error: an empty name: {variable}",
        f"hint: unset {variable}, or give it a value",
    ]
    option = {"FACECLI_INDEX": ("-i", ".facecli"), "FACECLI_MODEL": ("-m", "buffalo_sc")}[variable]
    shell("search", "yao.jpg", "-t", "none", *option, cwd=home, env={variable: ""})
    shell("search", "--help", env={variable: ""})


def test_variables_that_name_no_place_may_be_empty(shell: Shell, home: Path) -> None:
    empty = dict.fromkeys(
        ("FACECLI_DEVICE", "FACECLI_JOBS", "FACECLI_QUIET", "FACECLI_VERBOSE", "FACECLI_DEBUG", "FACECLI_ABSOLUTE"), ""
    )
    shell("index", "yao.jpg", cwd=home, env=empty)


@pytest.mark.parametrize("arguments", [("-",), ("-0", "-"), ("--files-from", "list"), ("-0", "--files-from", "list0")])
@pytest.mark.usefixtures("_photo")
def test_an_empty_name_in_a_list_is_an_error_too(shell: Shell, arguments: tuple[str, ...]) -> None:
    end = b"\0" if "-0" in arguments else b"\n"
    names = end.join((b"yao.jpg", b"", b"yao.jpg", b""))
    (shell.work / arguments[-1]).write_bytes(names)
    ran = shell("index", "--json", "-i", "index", *arguments, code=2, stdin=names)
    assert [line for line in ran.errors.splitlines() if "error" in line] == [
        "facecli: error: an empty name: entry 2 of a list"
    ]
    assert json.loads(ran.text)["photos"]["seen"] == 1, "what is named is looked at"


@pytest.mark.usefixtures("_photo")
def test_a_list_of_empty_names_alone_makes_nothing(shell: Shell) -> None:
    ran = shell("index", "-", code=2, stdin=b"\n")
    assert ran.errors.startswith("facecli: error: an empty name: entry 1 of a list\nhint: ")
    assert [path.name for path in shell.work.iterdir()] == ["yao.jpg"]


@pytest.mark.parametrize("command", ["index", "search"])
@pytest.mark.parametrize(("data", "option"), [(b"yao.jpg\0yao.jpg\0", ()), (b"yao.jpg\n" * 10_000, ("-0",))])
def test_a_list_of_the_other_kind_is_an_error(
    shell: Shell, home: Path, command: str, data: bytes, option: tuple[str, ...]
) -> None:
    failed = shell(command, "--files-from", "-", *option, code=2, stdin=data, cwd=home)
    assert failed.errors.splitlines() == [
        "facecli: error: what no file can be called: entry 1 of a list",
        "hint: -0 is for names that end in NUL, like those of find -print0, and only for them",
    ]


def test_the_end_of_a_list_is_no_name() -> None:
    assert read_list(io.BytesIO(b"a\nb\n"), nul=False, base="/x") == ["/x/a", "/x/b"]
    assert read_list(io.BytesIO(b"a\nb"), nul=False, base="/x") == ["/x/a", "/x/b"]
    assert read_list(io.BytesIO(b""), nul=False, base="/x") == []
    assert read_list(io.BytesIO(b"\n"), nul=False, base="/x") == [""]
    assert read_list(io.BytesIO(b"\0a\0\0"), nul=True, base="/x") == ["", "/x/a", ""]


def test_below_the_command_line_it_is_an_error_as_well(home: Path) -> None:
    around = Surroundings(str(home), io.BytesIO(), SilentReporter())
    with open_reader(home / ".facecli") as reader:
        calls: list[Callable[[], object]] = [
            lambda: search_index(reader, [""]),
            lambda: search_index(reader, ["yao.jpg", ""], None, around),
            lambda: verify_photos(("", "yao.jpg"), SearchOptions(), around, None),
            lambda: list(contents_of(reader, [""])),
            lambda: reader.plan_removal([""], []),
            lambda: find_pack(""),
            lambda: find_index("", str(home)),
            lambda: place_index("", str(home)),
        ]
        for call in calls:
            with pytest.raises(FacecliError, match="empty"):
                call()
    with open_writer(home / ".facecli") as writer, pytest.raises(UsageError, match="an empty name"):
        writer.plan_removal([""], [])
