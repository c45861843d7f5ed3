"""Runs that crash while decoding: the photo is decoded in a separate process next time, and the rest is indexed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from notes import Notes

from facecli.config import IndexOptions
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.photos.decode import PhotoReader
from facecli.store.disk.crash_journal import JOURNAL
from facecli.types import FileContents, IndexReport, Photo, Skipped


@pytest.fixture
def album(tmp_path: Path, find_sample: Callable[[str], Path]) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name in ("astronaut.png", "yaoming.jpg"):
        shutil.copy(find_sample(name), folder / name)
    return folder


def run(album: Path) -> IndexReport:
    return index_photos(IndexRequest(str(album.parent / ".facecli"), (str(album),), options=IndexOptions(jobs=1)))


DYING = """
import os, sys
from facecli.config import IndexOptions
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.photos.decode import PhotoReader

decode = PhotoReader.decode

def deadly(self, contents, *, isolated=False):
    if not isolated and contents.file.path.endswith("yaoming.jpg"):
        os._exit(66)
    return decode(self, contents, isolated=isolated)

PhotoReader.decode = deadly
index_photos(IndexRequest(sys.argv[1], (sys.argv[2],), options=IndexOptions(jobs=1)))
"""


def run_and_die(album: Path) -> int:
    """Run in another process, which crashes while decoding one photo; returns the exit code."""
    return subprocess.run(
        [sys.executable, "-c", DYING, str(album.parent / ".facecli"), str(album)], check=False
    ).returncode


def test_a_photo_with_which_two_runs_died_is_decoded_apart(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode, isolated_ones = PhotoReader.decode, []

    def watched(self: PhotoReader, contents: FileContents, *, isolated: bool = False) -> Photo | Skipped:
        if isolated:
            isolated_ones.append(os.path.basename(contents.file.path))
        return decode(self, contents, isolated=isolated)

    monkeypatch.setattr(PhotoReader, "decode", watched)
    assert [run_and_die(album) for _ in range(2)] == [66, 66]
    assert (album.parent / ".facecli" / JOURNAL).exists()
    report = run(album)
    assert isolated_ones == ["yaoming.jpg"]
    assert (report.photos.total, report.faces.total) == (2, 2)
    assert not (album.parent / ".facecli" / JOURNAL).exists()
    assert run(album).photos.unchanged == 2


def test_a_journal_that_cannot_be_written_ends_no_run(album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite

    def failing(descriptor: int, data: bytes, offset: int) -> int:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith(JOURNAL):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return write(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", failing)
    notes = Notes()
    report = index_photos(
        IndexRequest(str(album.parent / ".facecli"), (str(album),), options=IndexOptions(jobs=1)), notes
    )
    assert (report.photos.total, report.faces.total, report.skipped) == (2, 2, [])
    assert [detail for detail in notes.details if "Input/output error" in detail]
