"""Odd file times and temporary failures only affect the one file in the one run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from notes import Notes
from PIL import Image

from facecli.config import IndexOptions
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.photos import files, walk
from facecli.store.reader import open_reader
from facecli.types import IndexReport, SkipReason

if TYPE_CHECKING:
    from conftest import Shell

FAR = 9_300_000_000
"""After 2262-04-11, when nanoseconds no longer fit in 64 bits."""


@pytest.fixture
def album(tmp_path: Path, find_sample: Callable[[str], Path]) -> Path:
    """A JPEG and a PNG, each with a face."""
    folder = tmp_path / "album"
    folder.mkdir()
    face = Image.open(find_sample("yaoming.jpg"))
    face.save(folder / "a.jpg", quality=95)
    face.resize((300, 300)).save(folder / "b.png")
    return folder


def run(album: Path) -> IndexReport:
    return index_photos(
        IndexRequest(str(album.parent / ".facecli"), (str(album),), None, IndexOptions()), Notes(), lambda: 0
    )


def test_times_far_away_cost_nobody_anything(album: Path) -> None:
    (album / "text.jpg").write_text("no image")
    for name in ("a.jpg", "text.jpg"):
        os.utime(album / name, (FAR, FAR))
    os.utime(album / "b.png", (-86_400, -86_400))
    first = run(album)
    assert (first.photos.total, [s.reason for s in first.skipped]) == (2, [SkipReason.NOT_AN_IMAGE])
    again = run(album)
    assert (again.photos.unchanged, again.photos.new, again.photos.changed) == (2, 0, 0)
    assert [skip.known for skip in again.skipped] == [True]
    with open_reader(album.parent / ".facecli") as store:
        assert {os.path.basename(photo.file.path): photo.file.mtime_ns for photo in store.photos()}[
            "a.jpg"
        ] == 2**63 - 1


@pytest.mark.parametrize(("room", "name"), [(files, "photo"), (walk, "no-ending")])
def test_a_want_of_handles_is_over_with_the_run(
    album: Path, monkeypatch: pytest.MonkeyPatch, room: object, name: str
) -> None:
    """With a photo, which is read, or a file without an extension, whose beginning is checked."""
    shutil.copyfile(album / "b.png", album / name)
    opened = os.open

    def refuse(path: str, *options: int) -> int:
        if os.path.basename(path) == name:
            raise OSError(24, "Too many open files")
        return opened(path, *options)

    with monkeypatch.context() as patch:
        patch.setattr(room.os, "open", refuse)  # type: ignore[attr-defined]
        first = run(album)
    assert [(os.path.basename(s.file.path), s.reason) for s in first.skipped] == [(name, SkipReason.UNAVAILABLE)]
    assert first.photos.total == 2
    with open_reader(album.parent / ".facecli") as store:
        assert list(store.skips()) == []
    again = run(album)
    assert (again.photos.total, again.skipped) == (3, [])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux heeds the limit of a process's address space")
@pytest.mark.parametrize("megabytes", [800, 950, 1000, 1050])
def test_a_want_of_memory_is_over_with_the_run(shell: Shell, album: Path, megabytes: int) -> None:
    command = [
        "bash",
        "-c",
        f'ulimit -v {megabytes}000; exec "$@"',
        "-",
        sys.executable,
        "-m",
        "facecli",
        "index",
        str(album),
    ]
    subprocess.run(command, cwd=shell.work, env=shell.environment, capture_output=True, check=False, timeout=300)
    shell("index", album)
    with open_reader(shell.work / ".facecli") as store:
        assert (store.info.photos, list(store.skips())) == (2, [])


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no endless file on this system")
def test_an_endless_query_ends(shell: Shell, album: Path) -> None:
    shell("index", album)
    with open("/dev/zero", "rb") as zeros:
        command = [sys.executable, "-m", "facecli", "search", "-"]
        done = subprocess.run(
            command, cwd=shell.work, env=shell.environment, stdin=zeros, capture_output=True, check=False, timeout=60
        )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.decode().count("\n") == 1
    assert "nothing but zeros" in done.stderr.decode()


def test_little_memory_ends_no_run(shell: Shell, album: Path, find_sample: Callable[[str], Path]) -> None:
    """Every photo needs the whole budget, and gives it back whether it succeeds or fails."""
    album_of_copies = shell.work / "album"
    shutil.copytree(album, album_of_copies)
    for number in range(6):
        shutil.copyfile(find_sample("players.jpg"), album_of_copies / f"copy-{number}.jpg")
        (album_of_copies / f"broken-{number}.jpg").write_bytes(find_sample("gdp.jpg").read_bytes()[:90_000])
    shell("index", "--max-memory", "1", "-j", "4", "album", code=3)
    for path in album_of_copies.iterdir():
        os.utime(path)
    shell("index", "--max-memory", "1", "-j", "4", "--retry-skipped", "album", code=None)
    with open_reader(shell.work / ".facecli") as store:
        assert (store.info.photos, len(list(store.skips()))) == (8, 6)
