"""What is excluded stays excluded, and leaves the index by the rules for photos that are gone."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from notes import Notes

from facecli import Index
from facecli.config import OUTPUT_NAME, IndexOptions, ScanOptions
from facecli.errors import IndexDamaged, UsageError
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer, repair_index
from facecli.types import IndexReport

Run = Callable[..., IndexReport]


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def photos(tmp_path: Path, find_sample: Callable[[str], Path]) -> Path:
    """Two photos, and three copies of one of them in a folder."""
    for name in ("a.jpg", "b.jpg", "party/c.jpg", "party/d.jpg", "party/e.png"):
        place = tmp_path / "photos" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(find_sample("yaoming.jpg"), place)
    return tmp_path / "photos"


@pytest.fixture
def run(photos: Path, notes: Notes) -> Run:
    def run(*exclude: str, forget: bool = False, roots: tuple[Path, ...] = (photos,), **options: object) -> IndexReport:
        request = IndexRequest(
            str(photos.parent / "index"),
            tuple(map(str, roots)),
            options=IndexOptions(scan=ScanOptions(exclude=exclude, forget_excludes=forget), jobs=1, **options),  # type: ignore[arg-type]
        )
        notes.warnings.clear()
        return index_photos(request, notes)

    return run


def test_patterns_are_kept_and_act_on_what_is_indexed(run: Run, notes: Notes, photos: Path) -> None:
    assert run().photos.total == 5
    said = run("party/", dry_run=True)
    assert (said.photos.removed, said.photos.total) == (3, 5)
    assert run().photos.total == 5, "a dry run keeps no pattern"
    first = run("party/")
    assert (first.photos.removed, first.photos.total) == (3, 2)
    assert f"3 photos below {photos} excluded now: out of the index, the files stay" in notes.warnings
    assert run(roots=()).photos.total == 2
    assert run("*.png", forget=False).photos.total == 2
    with open_reader(photos.parent / "index") as reader:
        assert reader.excludes() == ("party/", "*.png")
    back = run(forget=True)
    assert (back.photos.new, back.photos.total) == (3, 5)
    assert run("a.jpg", "!a.jpg").photos.total == 5, "the order of the patterns is kept"
    assert run().photos.total == 5


def test_an_ignore_file_acts_on_what_is_indexed(run: Run, photos: Path) -> None:
    assert run().photos.total == 5
    (photos / ".facecliignore").write_text("party/*\n!party/*.png\n")
    assert run(roots=()).photos.total == 3
    (photos / ".facecliignore").unlink()
    assert run(roots=()).photos.total == 5


def test_everything_may_be_excluded(run: Run) -> None:
    run()
    report = run("*")
    assert (report.photos.total, report.photos.removed) == (0, 5)


def test_a_root_that_is_away_loses_nothing_to_a_pattern(run: Run, notes: Notes, photos: Path) -> None:
    run()
    for name in ("a.jpg", "b.jpg", "party"):
        (photos / name).rename(photos.parent / f"away-{name}")
    assert run("party/").photos.total == 5
    assert any("contains none of its photos now" in line for line in notes.warnings)


def test_most_of_many_photos_leave_only_when_asked(run: Run, notes: Notes, photos: Path) -> None:
    for number in range(120):
        shutil.copyfile(photos / "a.jpg", photos / f"party/{number}.jpg")
    assert run().photos.total == 125
    assert run("party/", prune=False).photos.total == 125
    assert notes.warnings == []
    assert run().photos.total == 125
    assert any("123 photos below" in line and "missing or excluded" in line for line in notes.warnings)
    assert run(dry_run=True, prune=True).photos.removed == 123
    assert run(prune=True).photos.total == 2


def test_a_list_drops_nothing_and_takes_what_is_excluded(run: Run, photos: Path) -> None:
    run("party/")
    path = str(photos / "party/c.jpg")
    request = IndexRequest(str(photos.parent / "index"), (), (path,), IndexOptions(jobs=1))
    assert index_photos(request).photos.total == 3
    assert run().photos.total == 2


def test_a_skipped_file_that_is_excluded_is_forgotten(run: Run, photos: Path) -> None:
    (photos / "party/bad.jpg").write_text("no image")
    assert len(run().skipped) == 1
    assert run("bad.jpg").skipped == []
    with open_reader(photos.parent / "index") as reader:
        assert list(reader.skips()) == []


def test_a_named_directory_is_indexed_although_it_is_excluded(run: Run, notes: Notes, photos: Path) -> None:
    run("party/")
    assert run(roots=(photos / "party",)).photos.total == 5
    assert any("is excluded; it is indexed because it is named" in line for line in notes.warnings)
    assert run(roots=()).photos.total == 2


def test_a_mark_never_drops_what_was_indexed_before_it(run: Run, notes: Notes, photos: Path) -> None:
    run()
    (photos / "party" / OUTPUT_NAME).touch()
    shutil.copyfile(photos / "a.jpg", photos / "party/new.jpg")
    report = run()
    assert (report.photos.total, report.photos.removed, report.photos.new) == (5, 0, 0)
    assert notes.warnings == [f"1 folder that facecli itself made not read: {photos}/party"]
    for name in ("a.jpg", "b.jpg"):
        (photos / name).unlink()
    assert run().photos.total == 5, "nothing was seen, as of a disk that is away"


def test_a_migration_leaves_out_what_is_excluded(run: Run) -> None:
    run()
    report = run("party/", migrate=True, min_score=0.6)
    assert report.photos.total == 2


@pytest.mark.parametrize("statement", ["('')", "(char(10))", f"('{'x' * 5000}')"])
def test_forged_patterns_are_refused_and_repaired(run: Run, photos: Path, statement: str) -> None:
    run("party/")
    index = photos.parent / "index"
    database = sqlite3.connect(index / "catalog.db")
    database.execute(f"INSERT INTO excludes (pattern) VALUES {statement}")
    database.commit()
    database.close()
    with pytest.raises(IndexDamaged, match="the patterns to exclude are damaged"):
        run()
    assert any("roots and excludes: " in line and line.startswith("dropped 1 record ") for line in repair_index(index))
    assert run().photos.total == 2, "the sound pattern stays"


def test_endless_patterns_are_refused(run: Run, photos: Path) -> None:
    run()
    with open_writer(photos.parent / "index") as writer:
        writer.keep_excludes([str(number) for number in range(1001)])
    with pytest.raises(IndexDamaged, match="the patterns to exclude are damaged"):
        run()


def test_the_library_keeps_and_forgets_patterns(photos: Path) -> None:
    with Index(photos.parent / "index") as index:
        assert index.add(photos, exclude="party/").photos.total == 2
        assert index.add().photos.total == 2
        assert index.add(exclude=["a.jpg"]).photos.total == 1
        assert index.add(exclude=None).photos.total == 5
        with pytest.raises(UsageError, match="one line of at most"):
            index.add(exclude="")
