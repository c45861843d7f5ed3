"""A full disk or a file size limit is an error with a hint; with space again the index is sound."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from synthetic import KIND, make_photo

from facecli.errors import StoreError
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.writer import open_writer

PHOTOS = 60


def fill(index: Path, start: int = 0) -> None:
    """Create an index and commit photos to it one by one."""
    with open_writer(index, KIND, create=True) as writer:
        for number in range(start, PHOTOS):
            writer.commit(Batch(photos=(make_photo(f"{index.parent}/{number:02}.jpg"),)))
        writer.finish()


def ask_whole(index: Path) -> None:
    """Continue where the space ran out, and fail unless the index is sound and complete."""
    done = 0
    if (index / "catalog.db").exists():
        with open_reader(index) as reader:
            done = reader.info.photos
    fill(index, done)
    with open_reader(index) as reader:
        assert reader.info.photos == PHOTOS
        assert not list(reader.check())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A function that mounts a disk of the given bytes, and resizes it when called again."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(size: int) -> Path:
        how = "remount," if os.path.ismount(disk) else ""
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"{how}size={size}", "tmpfs", disk], check=False, capture_output=True
        )
        if done.returncode:
            pytest.skip("no right to mount a small disk here")
        return disk

    yield mount
    subprocess.run(["umount", "-l", disk], check=False, capture_output=True)


@pytest.mark.parametrize("kilobytes", [4, 60, 120, 180, 200, 220, 240, 260, 280, 320, 400])
def test_a_full_disk_loses_nothing(small_disk: Callable[[int], Path], kilobytes: int) -> None:
    index = small_disk(kilobytes * 1024) / ".facecli"
    with pytest.raises(StoreError):
        fill(index)
    small_disk(16 * 2**20)
    ask_whole(index)


def test_a_reader_without_room_says_so(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(16 * 2**20)
    fill(disk / ".facecli")
    with (disk / "rest").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    with pytest.raises(StoreError, match="no space left for the index"):
        open_reader(disk / ".facecli")
    (disk / "rest").unlink()
    with open_reader(disk / ".facecli") as reader:
        assert reader.info.photos == PHOTOS


def fill_within(index: Path, most: int) -> int:
    """Run `fill` in a child process with files of at most `most` bytes; returns 0, 2 for a StoreError, 1 otherwise."""
    child = os.fork()
    if not child:
        code = 1
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
            fill(index)
            code = 0
        except StoreError:
            code = 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("most", [0, 50, 4_096, 20_000, 36_000, 60_000, 100_000, 140_000])
def test_files_that_may_not_grow_lose_nothing(tmp_path: Path, most: int) -> None:
    index = tmp_path / ".facecli"
    assert fill_within(index, most) == 2
    ask_whole(index)
