"""Memory of a batch of photos: parts of one block, until it is full."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from facecli.config import ReadOptions
from facecli.photos.budget import NoRoom
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.photos.frames import BatchSpace, PartOfBatch
from facecli.types import FileContents, Photo, PhotoFile


def test_parts_do_not_overlap_and_end_with_the_block() -> None:
    space = BatchSpace(100)
    parts = [space.part(40), space.part(60)]
    for number, part in enumerate(parts):
        part[:] = number
    assert [set(part.tolist()) for part in parts] == [{0}, {1}]
    with pytest.raises(NoRoom):
        space.part(1)
    space.clear()
    assert np.shares_memory(space.part(100), parts[0]), "the same memory again"


def test_what_is_larger_than_the_block_is_alone() -> None:
    space = BatchSpace(100)
    large = space.part(300)
    assert large.size == 300
    with pytest.raises(NoRoom):
        space.part(1)
    space.clear()
    space.part(1)
    with pytest.raises(NoRoom):
        space.part(300)


def read(reader: PhotoReader, path: Path) -> FileContents:
    file = stat_photo(str(path))
    assert isinstance(file, PhotoFile)
    contents = reader.read(file)
    assert isinstance(contents, FileContents)
    return contents


def test_photos_of_a_batch_stay_valid_together(find_sample: Callable[[str], Path]) -> None:
    names = ("t1.jpg", "astronaut.png", "gdp.jpg")
    alone, together = PhotoReader(ReadOptions()), PhotoReader(ReadOptions())
    space = BatchSpace(10_000_000)
    together.space = PartOfBatch(space)
    photos, expected = [], []
    for name in names:
        for reader, found in ((alone, expected), (together, photos)):
            photo = reader.decode(read(reader, find_sample(name)))
            assert isinstance(photo, Photo)
            found.append(photo.pixels if reader is together else photo.pixels.copy())
        together.release_file()
    for one, other in zip(photos, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    together.close()


def test_a_photo_for_which_there_is_no_room_is_no_fault_of_the_photo(find_sample: Callable[[str], Path]) -> None:
    reader, space = PhotoReader(ReadOptions()), BatchSpace(4_000_000)
    reader.space = PartOfBatch(space)
    contents = read(reader, find_sample("t1.jpg"))
    assert isinstance(reader.decode(contents), Photo)
    with pytest.raises(NoRoom):
        reader.decode(contents)
    space.clear()
    assert isinstance(reader.decode(contents), Photo)
    reader.close()
