"""Roots that move, vanish, overlap or lie on disks that come and go, and what a dry run says about them."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import astuple
from notes import Notes
from PIL import Image

from facecli.config import IndexOptions
from facecli.errors import PhotoError, StoreError
from facecli.indexing import departures
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.photos import mounts
from facecli.removing import find_missing, plan_root_removal
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer
from facecli.types import IndexReport
from facecli.vision.detection.detector import Detector


class Shelf:
    """A directory for albums, and an index outside it."""

    def __init__(self, place: Path, portraits: Path) -> None:
        self.place, self.portraits, self.notes = place / "shelf", portraits, Notes()
        self.index = place / "index" / ".facecli"
        self.index.parent.mkdir()
        self.place.mkdir()

    def put(self, name: str) -> Path:
        shutil.copytree(self.portraits, self.place / name)
        return self.place / name

    def run(
        self, *roots: Path, listed: list[Path] | None = None, stop: Callable[[], int] = lambda: 0, **options: object
    ) -> IndexReport:
        paths = None if listed is None else tuple(map(str, listed))
        request = IndexRequest(str(self.index), tuple(map(str, roots)), paths, IndexOptions(jobs=1, **options))  # type: ignore[arg-type]
        return index_photos(request, self.notes, stop)

    def rehearsed(self, *roots: Path, **options: object) -> IndexReport:
        """A run whose counts a dry run before it predicted exactly."""
        said = self.run(*roots, dry_run=True, **options)
        self.notes.warnings.clear()
        done = self.run(*roots, **options)
        assert astuple(said.photos)[:-1] == astuple(done.photos)[:-1], "a dry run counts as a run does"
        assert said.missing_roots == done.missing_roots
        return done

    def ids(self) -> dict[str, list[int]]:
        """The face ids of each photo, by its path on the shelf."""
        with open_reader(self.index) as store:
            assert list(store.check()) == []
            return {
                os.path.relpath(p.file.path, self.place): [f.face_id for f in store.faces_of(p.photo_id)]
                for p in store.photos()
            }

    def roots(self) -> list[str]:
        with open_reader(self.index) as store:
            return [os.path.relpath(root, self.place) for root in store.roots()]

    def edit(self, statement: str) -> None:
        database = sqlite3.connect(self.index / "catalog.db")
        database.execute(statement)
        database.commit()
        database.close()


@pytest.fixture(scope="session")
def portraits(tmp_path_factory: pytest.TempPathFactory, find_sample: Callable[[str], Path]) -> Path:
    """Four small photos, each with a face of t1.jpg, one of them in a directory of its own."""
    folder = tmp_path_factory.mktemp("portraits")
    (folder / "deep").mkdir()
    group = Image.open(find_sample("t1.jpg"))
    for name, (x, y) in {"0": (110, 330), "1": (320, 210), "2": (520, 340), "deep/3": (955, 130)}.items():
        group.crop((x - 105, y - 115, x + 105, y + 115)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def shelf(tmp_path: Path, portraits: Path) -> Shelf:
    return Shelf(tmp_path, portraits)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the photos processed by the detector."""
    looked: list[int] = []
    detect = Detector.detect

    def counting(self: Detector, photos: list[np.ndarray]) -> object:
        looked.extend(1 for _ in photos)
        return detect(self, photos)

    monkeypatch.setattr(Detector, "detect", counting)
    return looked


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The mount points of the system, for the test to change."""
    points = {"/"}
    monkeypatch.setattr(mounts, "_mount_points", lambda: frozenset(points))
    return points


def under(ids: dict[str, list[int]], old: str, new: str) -> dict[str, list[int]]:
    """The same ids with a directory by its new name."""
    return {path.replace(old, new): faces for path, faces in ids.items()}


# what has moved


def test_a_root_that_was_renamed_keeps_its_ids_and_is_followed(shelf: Shelf, counted: list[int]) -> None:
    shelf.run(shelf.put("old"))
    ids = shelf.ids()
    counted.clear()
    (shelf.place / "old").rename(shelf.place / "new")
    report = shelf.rehearsed(shelf.place / "new")
    assert (report.photos.moved, report.photos.new, report.photos.total, report.faces.added, counted) == (
        4,
        0,
        4,
        0,
        [],
    )
    assert shelf.ids() == under(ids, "old", "new")
    assert shelf.roots() == ["new"]
    shelf.notes.warnings.clear()
    later = shelf.rehearsed()
    assert (later.photos.unchanged, later.missing_roots, shelf.notes.warnings) == (4, [], [])


def test_a_root_that_moved_into_another_is_followed_too(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"), (shelf.place / "all"), shelf.put("all/first"))
    ids = shelf.ids()
    for path in (shelf.place / "all" / "first").rglob("*.png"):
        with Image.open(path) as picture:
            picture.point(lambda v: v * 9 // 10).save(path)
    shelf.run()
    (shelf.place / "old").rename(shelf.place / "all" / "old")
    report = shelf.rehearsed()
    assert (report.photos.moved, report.photos.unchanged, report.missing_roots) == (4, 4, [])
    assert [warning.partition(":")[0] for warning in shelf.notes.warnings] == [f"{shelf.place / 'old'} has moved"]
    assert {path: faces for path, faces in shelf.ids().items() if "old" in path} == {
        path.replace("old", "all/old"): faces for path, faces in ids.items() if path.startswith("old")
    }
    assert shelf.roots() == ["all"]


def test_what_was_not_found_is_named_and_stays_until_its_root_is_dropped(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"))
    (shelf.place / "old").rename(shelf.place / "new")
    (shelf.place / "new" / "deep" / "3.png").unlink()
    (shelf.place / "new" / "1.png").rename(shelf.place / "new" / "one.png")
    report = shelf.rehearsed(shelf.place / "new")
    assert (report.photos.moved, report.photos.total) == (3, 4)
    gone = str(shelf.place / "old" / "deep" / "3.png")
    assert f"not found in the new place, kept in the index: {gone}" in shelf.notes.warnings
    assert any(f"facecli remove --root {shelf.place / 'old'}" in warning for warning in shelf.notes.warnings)
    shelf.notes.warnings.clear()
    assert (shelf.run().photos.unchanged, shelf.notes.warnings) == (3, [])
    with open_writer(shelf.index) as writer:
        removal = plan_root_removal(writer, str(shelf.place / "old"))
        assert [photo.file.path for photo in removal.photos.values()] == [gone]
        writer.drop_roots(removal.places, list(removal.photos), removal.skipped_paths)
        assert writer.finish().erased
    assert set(shelf.ids()) == {"new/0.png", "new/one.png", "new/2.png"}


def test_copies_of_one_content_keep_their_places(shelf: Shelf) -> None:
    old = shelf.put("old")
    for name in ("a.png", "deep/b.png", "z.png"):
        shutil.copy(old / "0.png", old / name)
    shelf.run(old)
    ids = shelf.ids()
    old.rename(shelf.place / "new")
    assert shelf.rehearsed(shelf.place / "new").photos.moved == 7
    assert shelf.ids() == under(ids, "old", "new")


def test_a_run_that_was_cut_off_is_followed_by_the_next(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"))
    ids = shelf.ids()
    (shelf.place / "old").rename(shelf.place / "new")
    stopped = shelf.run(shelf.place / "new", batch_size=1, stop=lambda: 15 * (len(shelf.ids()) > 4))
    assert (stopped.interrupted_by, stopped.photos.total > 4) == (15, True)
    report = shelf.run(shelf.place / "new")
    assert (report.photos.moved, report.photos.new, report.photos.unchanged, report.photos.total) == (4, 0, 0, 4)
    assert shelf.ids() == under(ids, "old", "new")


def test_a_first_run_that_was_cut_off_goes_on_without_a_path(shelf: Shelf, mounted: set[str]) -> None:
    during: list[list[str]] = []
    album = shelf.put("album")
    mounted.add(str(album / "deep"))

    def stop() -> int:
        during.append(shelf.roots())
        return 15 * (len(shelf.ids()) == 4)

    assert shelf.run(album, batch_size=1, stop=stop).interrupted_by == 15
    assert during[0] == shelf.roots() == ["album"]
    mounted.remove(str(album / "deep"))
    shutil.rmtree(album / "deep")
    report = shelf.run()
    assert (report.photos.unchanged, report.photos.removed, report.photos.total) == (3, 0, 4)
    assert any("was a mount point and is not one now" in warning for warning in shelf.notes.warnings)


def test_force_and_migrate_follow_a_root(shelf: Shelf, counted: list[int]) -> None:
    shelf.run(shelf.put("old"))
    ids = shelf.ids()
    (shelf.place / "old").rename(shelf.place / "new")
    counted.clear()
    report = shelf.rehearsed(shelf.place / "new", force=True)
    assert (report.photos.moved, report.photos.total, len(counted)) == (4, 4, 4)
    assert shelf.ids() == under(ids, "old", "new")
    (shelf.place / "new").rename(shelf.place / "newer")
    report = shelf.rehearsed(shelf.place / "newer", migrate=True, det_size=320)
    assert (report.photos.moved, report.photos.total) == (4, 4)
    assert set(shelf.ids()) == set(under(ids, "old", "newer"))
    assert shelf.roots() == ["newer"]


@pytest.mark.parametrize("edited", [False, True])
def test_what_a_migration_has_made_goes_with_a_root(shelf: Shelf, edited: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    old = shelf.put("old")
    shelf.run(old)
    looks = count()
    stopped = shelf.run(old, migrate=True, det_size=320, batch_size=1, stop=lambda: 15 * (next(looks) > 6))
    assert stopped.interrupted_by == 15
    if edited:  # after the migration had seen it
        shutil.copyfile(old / "1.png", old / "0.png")
        shelf.run(old)
    old.rename(shelf.place / "new")
    assert shelf.run(shelf.place / "new").photos.moved == 4
    report = shelf.run(shelf.place / "new", migrate=True, det_size=320)
    assert (report.photos.total, report.photos.unchanged >= 1 - edited) == (4, True)
    assert all(path.startswith("new") for path in shelf.ids())


def test_a_file_that_was_not_read_at_the_old_place_is_forgotten_there(shelf: Shelf) -> None:
    old = shelf.put("old")
    (old / "bad.jpg").write_text("no image at all\n" * 9)
    shelf.run(old)
    old.rename(shelf.place / "new")
    shelf.run(shelf.place / "new")
    with open_reader(shelf.index) as store:
        assert [skip.file.path for skip in store.skips()] == [str(shelf.place / "new" / "bad.jpg")]


# what has not


def not_moved(shelf: Shelf, *roots: Path, **options: object) -> IndexReport:
    """A run that moves nothing: all ids stay, and the photos that it finds are new."""
    before = shelf.ids()
    report = shelf.rehearsed(*roots, **options)
    assert report.photos.moved == 0
    assert before.items() <= shelf.ids().items()
    return report


def test_too_few_photos_are_no_move(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"))
    new = shelf.place / "new"
    new.mkdir()
    (shelf.place / "old" / "0.png").rename(new / "0.png")
    shutil.rmtree(shelf.place / "old")
    assert not_moved(shelf, new).photos.new == 1
    assert any("1 of its 4 photos" in warning and "remove --root" in warning for warning in shelf.notes.warnings)
    assert shelf.roots() == ["new", "old"]


def test_two_roots_of_the_same_photos_do_not_both_move_to_one_place(shelf: Shelf) -> None:
    shelf.run(shelf.put("one"), shelf.put("two"))
    ids = shelf.ids()
    shutil.rmtree(shelf.place / "two")
    (shelf.place / "one").rename(shelf.place / "new")
    assert shelf.rehearsed(shelf.place / "new").photos.moved == 4
    assert shelf.ids() == under(ids, "one", "new")
    assert shelf.roots() == ["new", "two"]
    assert shelf.rehearsed().photos.moved == 0


def test_a_backup_beside_a_root_that_is_there_is_new(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"))
    assert not_moved(shelf, shelf.put("backup")).photos.new == 4


def test_a_backup_that_the_index_knew_is_not_where_a_root_went(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"), shelf.put("backup"))
    ids = shelf.ids()
    (shelf.place / "old").rename(shelf.place / "later")
    assert not_moved(shelf).missing_roots == [str(shelf.place / "old")]
    assert shelf.rehearsed(shelf.place / "later").photos.moved == 4
    assert shelf.ids() == under(ids, "old", "later")


@pytest.mark.parametrize(
    "how", ["its mount point is empty", "its mount point is gone", "it was the mount point", "another name leads to it"]
)
def test_an_unplugged_disk_whose_backup_is_indexed_has_not_moved(shelf: Shelf, mounted: set[str], how: str) -> None:
    disk, away = shelf.place / "disk", shelf.place / "drawer"
    root = shelf.put("disk" if how == "it was the mount point" else "disk/photos")
    mounted.add(str(disk))
    if how == "another name leads to it":
        (shelf.place / "link").symlink_to(disk)
        root = shelf.place / "link" / "photos"
    shelf.run(root)
    mounted.remove(str(disk))
    disk.rename(away)
    if how in ("its mount point is empty", "another name leads to it"):
        disk.mkdir()
    assert not_moved(shelf, shelf.put("backup")).photos.new == 4
    assert any(
        "4 of its 4 photos found elsewhere, but its disk may be away" in w and "remove --root" in w
        for w in shelf.notes.warnings
    )
    with pytest.raises(PhotoError, match="no such file or directory") as caught:
        shelf.run(root)
    assert f"facecli remove --root {root}" in caught.value.hint
    if disk.exists():
        disk.rmdir()
    away.rename(disk)
    mounted.add(str(disk))
    assert shelf.rehearsed(root).photos.unchanged == 4


def test_a_link_that_leads_nowhere_has_not_moved(shelf: Shelf) -> None:
    disk = shelf.put("disk")
    (shelf.place / "album").symlink_to(disk)
    shelf.run(shelf.place / "album")
    disk.rename(shelf.place / "elsewhere")
    assert not_moved(shelf, shelf.place / "elsewhere").photos.new == 4


def test_a_root_whose_directory_is_gone_with_it_has_not_moved(shelf: Shelf) -> None:
    shelf.run(shelf.put("above/old"))
    (shelf.place / "above" / "old").rename(shelf.place / "new")
    (shelf.place / "above").rmdir()
    assert not_moved(shelf, shelf.place / "new").photos.new == 4


def test_an_index_that_noted_no_mount_points_follows_no_root_until_it_has(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"))
    shelf.edit("DELETE FROM roots WHERE mount")
    (shelf.place / "old").rename(shelf.place / "new")
    assert not_moved(shelf, shelf.place / "new").photos.new == 4
    assert any("remove --root" in warning for warning in shelf.notes.warnings)


def test_a_list_moves_no_root(shelf: Shelf) -> None:
    shelf.run(shelf.put("old"))
    before = shelf.ids()
    (shelf.place / "old").rename(shelf.place / "new")
    report = shelf.run(listed=sorted((shelf.place / "new").rglob("*.png")))
    assert (report.photos.new, report.photos.moved) == (4, 0)
    assert before.items() <= shelf.ids().items()


# disks below, at and above a root


def test_a_photo_on_an_unplugged_disk_below_a_root_has_not_moved_to_its_copy(shelf: Shelf, mounted: set[str]) -> None:
    """Unreachable places are known when the first copy is found, not only at the end of the run."""
    album = shelf.put("album")
    (album / "disk").mkdir()
    (album / "0.png").rename(album / "disk" / "0.png")
    mounted.add(str(album / "disk"))
    shelf.run(album)
    mounted.remove(str(album / "disk"))
    (album / "disk" / "0.png").rename(album / "copy.png")
    report = not_moved(shelf, album)
    assert (report.photos.new, report.photos.removed, report.photos.total) == (1, 0, 5)


def test_a_disk_that_was_a_root_is_no_deletion_for_a_root_above_it(shelf: Shelf, mounted: set[str]) -> None:
    disk = shelf.put("media/disk")
    mounted.add(str(disk))
    shelf.run(disk)
    mounted.remove(str(disk))
    disk.rename(shelf.place / "drawer")
    (shelf.place / "media" / "other").mkdir()
    shutil.copy(shelf.portraits / "0.png", shelf.place / "media" / "other" / "x.png")
    report = not_moved(shelf, shelf.place / "media")
    assert (report.photos.new, report.photos.removed, report.photos.total) == (1, 0, 5)


def test_a_stray_photo_in_an_empty_mount_point_is_no_proof_that_the_others_are_gone(
    shelf: Shelf, mounted: set[str]
) -> None:
    disk = shelf.put("disk")
    mounted.add(str(disk))
    shelf.run(disk)
    mounted.remove(str(disk))
    disk.rename(shelf.place / "drawer")
    disk.mkdir()
    with Image.open(shelf.portraits / "0.png") as picture:
        picture.point(lambda v: v * 9 // 10).save(disk / "stray.png")
    for _ in range(2):
        report = not_moved(shelf, disk)
        assert (report.photos.removed, report.photos.total) == (0, 5)
    assert any(
        f"the disk on which {disk} was indexed is not mounted now" in warning and "remove --root" in warning
        for warning in shelf.notes.warnings
    )
    with open_reader(shelf.index) as store:
        assert not find_missing(store).photos


@pytest.fixture
def disks(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The numbers of the mounted file systems, for the test to change."""
    numbers: dict[str, int] = {}
    monkeypatch.setattr(departures, "file_system_of", lambda path: numbers.get(path, 1))
    return numbers


def test_disks_that_take_turns_at_one_mount_point_are_told_apart(
    shelf: Shelf, mounted: set[str], disks: dict[str, int]
) -> None:
    disk = shelf.place / "disk"
    mounted.add(str(disk))
    disks[str(disk)] = 7
    shelf.run(shelf.put("disk/photos"))
    disk.rename(shelf.place / "drawer")
    disks[str(disk)] = 8
    assert not_moved(shelf, shelf.put("disk/backup")).photos.new == 4, "photos are on the disk in the drawer"
    assert not_moved(shelf, shelf.put("copy")).photos.new == 4


def test_another_disk_that_holds_the_same_photos_takes_the_place_of_the_first(
    shelf: Shelf, mounted: set[str], disks: dict[str, int]
) -> None:
    """Some file systems use the number of their device, which changes when they are plugged in again."""
    root = shelf.put("disk/photos")
    mounted.add(str(shelf.place / "disk"))
    disks[str(shelf.place / "disk")] = 7
    shelf.run(root)
    disks[str(shelf.place / "disk")] = 8
    (root / "0.png").unlink()
    (root / "1.png").rename(root / "one.png")
    report = shelf.rehearsed(root)
    assert (report.photos.removed, report.photos.moved) == (1, 1)
    root.rename(shelf.place / "disk" / "pictures")
    assert shelf.rehearsed(shelf.place / "disk" / "pictures").photos.moved == 3


def test_file_systems_have_numbers(tmp_path: Path) -> None:
    assert mounts.file_system_of(str(tmp_path)) == os.statvfs(tmp_path).f_fsid & ((1 << 63) - 1)
    assert mounts.file_system_of(str(tmp_path / "none")) is None
    assert mounts.is_mount("/")
    place = mounts.mount_of(str(tmp_path / "none" / "deeper"))
    assert mounts.is_mount(place)
    assert str(tmp_path).startswith(place)


def test_a_migration_gives_up_no_photo_whose_disk_is_away(shelf: Shelf, mounted: set[str]) -> None:
    disk = shelf.put("disk")
    mounted.add(str(disk))
    shelf.run(disk)
    mounted.remove(str(disk))
    disk.rename(shelf.place / "drawer")
    disk.mkdir()
    with Image.open(shelf.portraits / "0.png") as picture:
        picture.point(lambda v: v * 9 // 10).save(disk / "stray.png")
    with pytest.raises(StoreError, match="4 photos could not be reached"):
        shelf.run(disk, migrate=True, det_size=320)
    assert len(shelf.ids()) == 4


def test_a_root_that_left_its_disk_for_the_same_path_is_pruned_as_any_other(shelf: Shelf, mounted: set[str]) -> None:
    root = shelf.put("disk/photos")
    mounted.add(str(shelf.place / "disk"))
    shelf.run(root)
    mounted.remove(str(shelf.place / "disk"))
    (root / "0.png").unlink()
    assert shelf.rehearsed(root).photos.removed == 1
    with open_reader(shelf.index) as store:
        assert str(shelf.place / "disk") not in store.mounts()


# what a dry run says


def test_a_dry_run_says_what_a_run_does(shelf: Shelf) -> None:
    album = shelf.put("album")
    for name in ("removed.png", "kept-out.png"):
        with Image.open(album / "0.png") as picture:
            picture.point(lambda v: v * 8 // 10).rotate(1 if name == "removed.png" else 2).save(album / name)
    assert shelf.rehearsed(album).photos.new == 6
    with open_writer(shelf.index) as writer:
        writer.remove(writer.plan_removal([str(album / "kept-out.png")]))
    os.utime(album / "0.png", ns=(1, 1))
    shutil.copy(shelf.portraits / "2.png", album / "1.png")
    (album / "2.png").rename(album / "deep" / "two.png")
    shutil.copy(album / "deep" / "two.png", album / "deep" / "zwei.png")
    (album / "removed.png").unlink()
    (album / "bad.jpg").write_text("no image at all\n" * 9)
    (album / "nothing.jpg").touch()
    report = shelf.rehearsed(album)
    photos = report.photos
    assert (photos.new, photos.changed, photos.moved, photos.unchanged, photos.removed, photos.skipped) == (
        1,
        1,
        1,
        2,
        1,
        2,
    )
    assert report.kept_out == 1
    assert shelf.rehearsed(album, force=True).photos.changed == 5
    assert shelf.rehearsed(album, prune=False).photos.removed == 0
    assert shelf.rehearsed(album, migrate=True, det_size=320).photos.new == 5


def test_a_dry_run_drops_no_more_than_a_run(shelf: Shelf) -> None:
    album = shelf.put("album")
    shelf.run(album)
    shutil.rmtree(album)
    album.mkdir()
    assert shelf.rehearsed(album).photos.removed == 0
    shelf.run(album, dry_run=True)
    assert any("contains none of its photos now" in warning for warning in shelf.notes.warnings)


# dropping a root


def test_a_root_is_dropped_with_what_stands_only_there(shelf: Shelf) -> None:
    old, inner = shelf.put("old"), shelf.put("old-inner")
    shelf.run(old, inner)
    with open_writer(shelf.index) as writer:
        writer.set_roots([str(old), str(old / "deep"), str(inner)], writer.mounts())
        removal = plan_root_removal(writer, str(old))
    assert {os.path.relpath(p.file.path, shelf.place) for p in removal.photos.values()} == {
        "old/0.png",
        "old/1.png",
        "old/2.png",
    }
    with open_reader(shelf.index) as store:
        for wrong in (inner / "deep", shelf.place / "none", shelf.place):
            with pytest.raises(StoreError, match="not a root of the index") as caught:
                plan_root_removal(store, str(wrong))
            assert str(inner) in caught.value.hint
