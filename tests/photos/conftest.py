"""Fixtures: a reader that is closed after the test, and a function that reads bytes through a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from facecli.config import ReadOptions
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.types import FileContents, Photo, PhotoFile, Skipped

Reading = Callable[[bytes], Photo | Skipped]


@pytest.fixture(scope="module")
def reader() -> Iterator[PhotoReader]:
    reader = PhotoReader(ReadOptions())
    yield reader
    reader.close()


@pytest.fixture
def read_bytes(reader: PhotoReader, tmp_path: Path) -> Reading:
    """Write bytes into a file without an extension, and read it as an index run does."""

    def read(data: bytes) -> Photo | Skipped:
        path = tmp_path / "file"
        path.write_bytes(data)
        file = stat_photo(str(path))
        assert isinstance(file, PhotoFile)
        contents = reader.read(file)
        return reader.decode(contents) if isinstance(contents, FileContents) else contents

    return read
