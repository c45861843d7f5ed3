"""Files that may not grow, as on a full disk: each is an error that names its way out, and with room again the index is whole."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from synthetic import KIND, make_photo

from facecli.errors import StoreError
from facecli.store.facestore import open_reader, open_writer
from facecli.store.records import Batch

PHOTOS = 12


def write_within(index: Path, most: int) -> int:
    """Make an index and fill it in a child process whose files may hold no more than `most` bytes: 0 done, 2 said, 1 another end."""
    child = os.fork()
    if not child:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            with open_writer(index, KIND, create=True) as writer:
                for number in range(PHOTOS):
                    writer.commit(Batch(photos=(make_photo(f"{index.parent}/{number}.jpg"),)))
                writer.finish()
            code = 0
        except StoreError:
            code = 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("most", [0, 50, 4_096, 20_000, 36_000, 40_000, 60_000, 100_000, 140_000, 200_000])
def test_with_room_again_the_index_is_whole(tmp_path: Path, most: int) -> None:
    index = tmp_path / ".facecli"
    assert write_within(index, most) in (0, 2)
    before = 0
    if (index / "catalog.db").exists():
        with open_reader(index) as reader:
            before = reader.info.photos
    with open_writer(index, KIND, create=True) as writer:
        assert writer.info.photos == before
        for number in range(before, PHOTOS):
            writer.commit(Batch(photos=(make_photo(f"{tmp_path}/{number}.jpg"),)))
        writer.finish()
    with open_reader(index) as reader:
        assert reader.info.photos == PHOTOS
        assert not list(reader.check())


def test_without_a_limit_it_is_done(tmp_path: Path) -> None:
    assert write_within(tmp_path / ".facecli", resource.RLIM_INFINITY) == 0
