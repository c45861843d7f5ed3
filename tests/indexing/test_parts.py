"""Parts of a collection: every photo is in one, wherever it is mounted, and an index keeps its part."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from PIL import Image

from facecli.config import IndexOptions
from facecli.errors import UsageError
from facecli.indexing.index_photos import index_photos
from facecli.indexing.parts import membership
from facecli.indexing.request import IndexRequest
from facecli.merging import MergeRequest, merge_indexes
from facecli.store.reader import open_reader
from facecli.types import IndexReport

PATHS = [f"/photos/{year}/{name:04}.jpg" for year in range(2000, 2010) for name in range(300)]


def in_parts(paths: list[str], count: int, *roots: str) -> list[int]:
    """The number of the one part that each path belongs to."""
    parts = [membership(f"{number}/{count}", roots) for number in range(1, count + 1)]
    found = [[number for number, belongs in enumerate(parts) if belongs(path)] for path in paths]
    assert {len(numbers) for numbers in found} == {1}
    return [number for (number,) in found]


def test_parts_are_even_and_every_photo_is_in_one() -> None:
    sizes = Counter(in_parts(PATHS, 7, "/photos"))
    assert len(sizes) == 7
    assert max(sizes.values()) < 1.25 * min(sizes.values())


def test_the_part_depends_on_the_path_below_the_outermost_root() -> None:
    moved = [path.replace("/photos/", "/mnt/disk/") for path in PATHS]
    assert in_parts(PATHS, 5, "/photos") == in_parts(moved, 5, "/mnt/disk") == in_parts(moved, 5, "/mnt/disk/")
    assert in_parts(PATHS, 5, "/photos") == in_parts(PATHS, 5, "/photos/2003", "/photos", "/other")
    assert in_parts(PATHS, 5, "/photos") != in_parts(PATHS, 5, "/")
    assert in_parts(PATHS, 5, "/") == in_parts(PATHS, 5), "without a root it is the whole path"


def test_the_parts_of_this_version_are_those_of_the_next() -> None:
    """Machines of other kinds and versions must agree; these are the parts as they were when they were defined."""
    belongs = membership("2/3", ["/photos"])
    names = [*map(os.fsdecode, (b"\xff", b"\xfe", b"\xfd")), *"abcdefghij"]
    assert [name for name in names if belongs(f"/photos/{name}.jpg")] == EXPECTED


EXPECTED = ["\udcfd", "f", "g", "j"]


@pytest.mark.parametrize(
    "asked", ["", "1", "0/3", "4/3", "1/0", "-1/3", "1/-3", "a/b", "1/3/5", " 1/3", "1/9999999", "½"]
)
def test_what_is_no_part_is_refused(asked: str) -> None:
    with pytest.raises(UsageError):
        IndexOptions(part=asked)


class Shelf:
    """A folder of photos and the indexes of its parts."""

    def __init__(self, place: Path, photo: Path) -> None:
        self.place, self.photos = place, place / "photos"
        self.photos.mkdir()
        for number in range(12):
            self.put(f"{number:02}.jpg", number, photo)

    def put(self, name: str, number: int, photo: Path) -> None:
        """A photo of a content of its own."""
        whole = photo.read_bytes()
        (self.photos / name).write_bytes(whole[:2] + b"\xff\xfe\x00\x06%04d" % number + whole[2:])

    def run(self, index: str, *roots: Path, **options: object) -> IndexReport:
        request = IndexRequest(str(self.place / index), tuple(map(str, roots)), None, IndexOptions(**options))  # type: ignore[arg-type]
        return index_photos(request)

    def names(self, index: str) -> set[str]:
        with open_reader(self.place / index) as reader:
            return {os.path.basename(photo.file.path) for photo in reader.photos()}


@pytest.fixture
def shelf(tmp_path: Path, crowd: Path) -> Shelf:
    with Image.open(next(crowd.iterdir())) as picture:
        picture.save(tmp_path / "photo.jpg")
    return Shelf(tmp_path, tmp_path / "photo.jpg")


def test_two_parts_hold_all_photos_and_later_runs_keep_to_them(shelf: Shelf) -> None:
    halves = [shelf.run(f"half{n}", shelf.photos, part=f"{n}/2").photos.new for n in (1, 2)]
    assert sum(halves) == 12
    first, second = shelf.names("half1"), shelf.names("half2")
    assert not first & second
    for options in ({}, {"part": "1/2"}, {"part": "01/2"}):
        report = shelf.run("half1", **options)
        assert (report.photos.unchanged, report.photos.seen) == (len(first), len(first))
    assert shelf.run("half1", shelf.photos / "").photos.new == 0
    with open_reader(shelf.place / "half1") as reader:
        assert reader.info.part == "1/2"


def test_another_part_into_the_same_index_is_refused(shelf: Shelf) -> None:
    shelf.run("half", shelf.photos, part="1/2")
    for other in ("2/2", "1/3"):
        with pytest.raises(UsageError, match="for part 1/2"):
            shelf.run("half", shelf.photos, part=other)
    shelf.run("whole", shelf.photos)
    with pytest.raises(UsageError, match="for all parts"):
        shelf.run("whole", shelf.photos, part="1/2")
    with open_reader(shelf.place / "half") as reader:
        assert list(reader.check()) == []


def test_a_dry_run_tells_of_a_part_alone(shelf: Shelf) -> None:
    count = shelf.run("half", shelf.photos, part="1/2", dry_run=True).photos.new
    assert 0 < count < 12
    assert not (shelf.place / "half").exists()
    assert shelf.run("half", shelf.photos, part="1/2").photos.new == count


def test_gone_moved_and_new_photos_of_a_part(shelf: Shelf) -> None:
    shelf.run("half", shelf.photos, part="1/2")
    gone, moved = sorted(shelf.names("half"))[:2]
    mine = membership("1/2", [str(shelf.photos)])
    name = next(name for name in map("new{}.jpg".format, range(99)) if mine(str(shelf.photos / name)))
    other = next(name for name in map("new{}.jpg".format, range(99)) if not mine(str(shelf.photos / name)))
    with open_reader(shelf.place / "half") as reader:
        known = reader.at(str(shelf.photos / moved))
    (shelf.photos / gone).unlink()
    (shelf.photos / moved).rename(shelf.photos / name)
    shutil.copyfile(shelf.photos / name, shelf.photos / other)
    report = shelf.run("half")
    assert (report.photos.moved, report.photos.removed, report.photos.new) == (1, 1, 0)
    with open_reader(shelf.place / "half") as reader:
        now = reader.at(str(shelf.photos / name))
        assert now is not None
        assert known is not None
        assert now.photo_id == known.photo_id
        assert reader.at(str(shelf.photos / other)) is None


def test_a_migration_keeps_the_part_and_its_photos_outside_the_roots(shelf: Shelf) -> None:
    shelf.run("half", shelf.photos, part="1/2")
    before = shelf.names("half")
    with closing(sqlite3.connect(shelf.place / "half" / "catalog.db", isolation_level=None)) as base:
        base.execute("DELETE FROM roots WHERE NOT mount")
    report = shelf.run("half", migrate=True, det_size=320)
    assert (report.photos.new, shelf.names("half")) == (len(before), before)


def test_merged_parts_go_on_as_one_index(shelf: Shelf, find_sample: Callable[[str], Path]) -> None:
    for number in (1, 2):
        shelf.run(f"half{number}", shelf.photos, part=f"{number}/2")
    merge_indexes(MergeRequest(str(shelf.place / "all"), (str(shelf.place / "half1"), str(shelf.place / "half2"))))
    shutil.copyfile(find_sample("t1.jpg"), shelf.photos / "late.jpg")
    report = shelf.run("all")
    assert (report.photos.unchanged, report.photos.new) == (12, 1)
