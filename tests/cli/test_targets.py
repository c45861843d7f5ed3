"""Where a command puts files: nothing goes into an index, and only what was indexed comes out of one."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli.cli.group import COMMANDS

if TYPE_CHECKING:
    from conftest import Shell

Find = Callable[[str], Path]
PLAYERS = "album/sport/players.jpg"


@pytest.fixture
def indexed(shell: Shell, indexed_album: Path, find_sample: Find) -> Path:
    """The shell's working directory with an indexed album and a query photo that finds one of its photos."""
    shutil.copyfile(find_sample("yaoming.jpg"), shell.work / "yao.jpg")
    assert indexed_album.parent == shell.work
    return shell.work


def put_instead(place: Path, what: str) -> None:
    """Replace a photo by something else."""
    data = place.read_bytes()
    place.unlink()
    match what:
        case "pipe":
            os.mkfifo(place)
        case "endless device":
            place.symlink_to("/dev/zero")
        case "secret":
            (place.parent / "secret.txt").write_text("secret")
            place.symlink_to("secret.txt")
        case "another content of the same size":
            place.write_bytes(data[:-1] + b"x")
        case "gone":
            pass


@pytest.mark.parametrize("what", ["pipe", "endless device", "secret", "another content of the same size", "gone"])
def test_what_stands_at_the_path_now_is_left_out_with_a_line(shell: Shell, indexed: Path, what: str) -> None:
    put_instead(indexed / PLAYERS, what)
    for option in ("--copy-to", "--link-to"):
        ran = shell("search", "yao.jpg", "-t", "none", option, "out" + option, code=2)
        assert ran.errors.count("facecli: error: skipped, ") == 1
        assert f": {PLAYERS}\n" in ran.errors
        assert sorted(p.name for p in (indexed / f"out{option}").glob("[!.]*")) == [
            "astronaut.png",
            "gdp.jpg",
            "t1.jpg",
        ]
        assert shell("search", "yao.jpg", option, "dry", "--dry-run", code=2).errors.count("skipped") == 1
    shell("search", "yao.jpg", "--html", "page.html")
    page = (indexed / "page.html").read_text("utf-8")
    assert page.count("<article") == 1
    assert 'class="photo trouble"' in page


@pytest.mark.parametrize("path", [b"../secret.jpg", b"/etc/passwd", b"album/../../secret.jpg", b"nul\0byte.jpg"])
def test_a_crafted_path_gives_nothing_away(shell: Shell, indexed: Path, path: bytes) -> None:
    (shell.work.parent / "secret.jpg").write_bytes((indexed / "album/party/t1.jpg").read_bytes())
    database = sqlite3.connect(indexed / ".facecli/catalog.db")
    with database:
        database.execute("UPDATE photos SET path = ? WHERE path = ?", (path, PLAYERS.encode()))
    database.close()
    for option in ("--copy-to", "--link-to"):
        ran = shell("search", "yao.jpg", option, "out", code=2)
        assert ran.errors.count("facecli: error: ") == 1
        assert ("skipped" in ran.errors) or path != b"/etc/passwd"
        assert not (indexed / "out").exists() or list((indexed / "out").glob("[!.]*")) == []
    page = indexed / "page.html"
    shell("search", "yao.jpg", "--html", page, code=None)
    assert not page.exists() or 'class="photo trouble"' in page.read_text("utf-8")


def test_photos_behind_links_are_copied_linked_and_shown(shell: Shell, find_sample: Find) -> None:
    """A home directory on another disk, a linked folder indexed with --follow-symlinks, and a linked photo."""
    disk = shell.work.parent / "disk"
    (disk / "photos").mkdir(parents=True)
    (disk / "more").mkdir()
    for place, name in (
        (disk / "photos/players.jpg", "players.jpg"),
        (disk / "more/gdp.jpg", "gdp.jpg"),
        (disk / "t1.jpg", "t1.jpg"),
    ):
        shutil.copyfile(find_sample(name), place)
    (shell.work / "home").symlink_to(disk)
    (disk / "photos/t1.jpg").symlink_to(disk / "t1.jpg")
    (disk / "photos/more").symlink_to(disk / "more")
    shell("index", "-q", "--follow-symlinks", "home/photos")
    for option in ("--copy-to", "--link-to"):
        shell("search", find_sample("yaoming.jpg"), "-t", "none", option, option[2:], "--html", "page.html")
        for name in ("players.jpg", "gdp.jpg", "t1.jpg"):
            assert (shell.work / option[2:] / name).read_bytes() == find_sample(name).read_bytes()
    page = (shell.work / "page.html").read_text("utf-8")
    assert (page.count("<article"), page.count("photo trouble")) == (3, 0)


def test_no_output_goes_into_an_index(shell: Shell, indexed: Path) -> None:
    other = indexed / "other"
    shell("index", "-q", "-i", other, "album/space")
    (indexed / "link").symlink_to(other)
    before = {index: sorted(os.listdir(index)) for index in (indexed / ".facecli", other)}
    for inside in (".facecli", ".facecli/sub", "other", "link", "link/sub", indexed / "album/../other"):
        commands = [("search", "yao.jpg", option, inside) for option in ("--copy-to", "--link-to")]
        commands += [
            ("search", "yao.jpg", "--html", Path(inside) / "page.html"),
            ("faces", "yao.jpg", "--crops", inside),
        ]
        for command in commands:
            ran = shell(*command, code=2)
            assert "cannot write into an index" in ran.errors, command
            assert ran.out == b""
    assert {index: sorted(os.listdir(index)) for index in before} == before
    empty = shell.work.parent / "empty"
    empty.mkdir()
    for command in (
        ("faces", indexed / "yao.jpg", "--crops", ".facecli"),
        ("search", "-i", other, "face:1", "--html", ".facecli"),
    ):
        shell(*command, cwd=empty, code=2)
    assert os.listdir(empty) == []


def test_folders_on_the_way_to_an_output_are_their_owners(shell: Shell, indexed: Path) -> None:
    shell("search", "yao.jpg", "--copy-to", "copies/of/yao", "--link-to", "links/of/yao")
    shell("faces", "yao.jpg", "--crops", "crops/of/yao")
    made = [indexed / kind / below for kind in ("copies", "links", "crops") for below in (".", "of", "of/yao")]
    assert [(str(folder), folder.stat().st_mode & 0o777) for folder in made] == [
        (str(folder), 0o700) for folder in made
    ]
    assert {p.stat().st_mode & 0o777 for p in indexed.rglob("c*/of/yao/*")} == {0o600}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_working_directory_that_is_gone_is_one_line(shell: Shell, command: str) -> None:
    arguments = {
        "search": "a.jpg",
        "verify": "a.jpg b.jpg",
        "faces": "a.jpg",
        "remove": "a.jpg",
        "calibrate": "d",
        "merge": "d e",
        "index": ".",
    }.get(command, "")
    line = f'mkdir gone && cd gone && rmdir ../gone && exec "{sys.executable}" -P -m facecli {command} {arguments}'
    done = subprocess.run(
        ["bash", "-c", line], cwd=shell.work, env=shell.environment, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, b"")
    error, hint = done.stderr.decode().splitlines()
    assert error == "facecli: error: the working directory cannot be used (No such file or directory): ."
    assert hint.startswith("hint: ")
