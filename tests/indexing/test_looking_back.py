"""Photos of an index that an earlier version made are asked when they were taken, once."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from facecli.captures import Capture, iso_time
from facecli.indexing.index_photos import index_photos
from facecli.indexing.looking_back import look_at
from facecli.indexing.request import IndexRequest
from facecli.store.reader import open_reader
from facecli.types import PhotoFile


def put(path: Path, year: int, form: str = "JPEG") -> Path:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = f"{year}:01:02 03:04:05"
    Image.new("RGB", (60, 60), (year % 256, 90, 90)).save(path, form, exif=exif)
    return path


def years(index: Path) -> dict[str, str | None]:
    with open_reader(index) as reader:
        photos = list(reader.photos())
    return {
        Path(photo.file.path).name: None if photo.capture is None else (iso_time(photo.capture.taken_ms) or "")[:4]
        for photo in photos
    }


def test_known_photos_are_filled_in_and_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    album, index = tmp_path / "album", tmp_path / "index"
    album.mkdir()
    put(album / "a.jpg", 2001)
    put(album / "b.png", 2002, "PNG")
    put(album / "c.jpg", 2003)
    request = IndexRequest(str(index), (str(album),))
    assert index_photos(request).photos.new == 3
    assert years(index) == {"a.jpg": "2001", "b.png": "2002", "c.jpg": "2003"}
    with closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as base:
        base.execute("UPDATE photos SET looked = NULL, taken_ms = NULL")
    (album / "c.jpg").rename(tmp_path / "away.jpg")
    assert index_photos(IndexRequest(str(index), (str(album),))).photos.unchanged == 2
    assert years(index) == {"a.jpg": "2001", "b.png": "2002"}
    monkeypatch.setattr("facecli.indexing.looking_back.look_at", lambda _: pytest.fail("read a second time"))
    index_photos(IndexRequest(str(index), (str(album),)))


def test_only_a_file_as_it_was_indexed_is_asked(tmp_path: Path) -> None:
    path = put(tmp_path / "a.jpg", 2001)
    state = path.stat()
    file = PhotoFile.seen(str(path), state)
    assert (iso_time((look_at(file) or Capture()).taken_ms) or "")[:4] == "2001"
    assert look_at(PhotoFile(str(path), state.st_size + 1, state.st_mtime_ns)) is None
    assert look_at(PhotoFile(str(path), state.st_size, state.st_mtime_ns + 1)) is None
    assert look_at(PhotoFile(str(tmp_path / "none"), 1, 2)) is None
    os.mkfifo(tmp_path / "pipe")
    assert look_at(PhotoFile(str(tmp_path / "pipe"), 0, (tmp_path / "pipe").stat().st_mtime_ns)) is None
