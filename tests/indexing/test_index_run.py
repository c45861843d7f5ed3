"""Index runs on real photos: which are read, kept and dropped."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from notes import Notes
from PIL import Image

from facecli.config import By, IndexOptions, ScanOptions
from facecli.errors import IndexMismatch, PackError, PhotoError, StoreError, UsageError
from facecli.indexing.engines import EngineChoice
from facecli.indexing.index_photos import Before, _open_scan, index_photos
from facecli.indexing.request import IndexRequest
from facecli.photos import mounts
from facecli.photos.decode import PhotoReader
from facecli.photos.scan import Scan
from facecli.searching.opening import choose_pack
from facecli.store.reader import open_reader
from facecli.types import FileContents, IndexReport, PhotoFile, Skipped
from facecli.vision.detection.detector import Detector


@dataclass
class Album:
    """A directory of small photos of one person each, and its index."""

    folder: Path
    notes: Notes = field(default_factory=Notes)

    @property
    def index(self) -> Path:
        return self.folder.parent / ".facecli"

    def run(
        self, *roots: Path, listed: list[Path] | None = None, stop: Callable[[], int] = lambda: 0, **options: object
    ) -> IndexReport:
        named = tuple(str(r) for r in roots) or ((str(self.folder),) if listed is None else ())
        paths = None if listed is None else tuple(str(p) for p in listed)
        return index_photos(IndexRequest(str(self.index), named, paths, IndexOptions(**options)), self.notes, stop)  # type: ignore[arg-type]

    def faces(self) -> dict[str, list[int]]:
        """The face ids of each photo, by its path in the album's parent."""
        with open_reader(self.index) as store:
            return {
                os.path.relpath(p.file.path, self.folder.parent): [f.face_id for f in store.faces_of(p.photo_id)]
                for p in store.photos()
            }

    def bits(self) -> list[tuple[str, int, bytes, bytes]]:
        """All data of the faces in the index."""
        with open_reader(self.index) as store:
            return [
                (
                    photo.file.path[len(str(self.folder)) :],
                    face.face_id,
                    np.float32([*face.box, face.score]).tobytes(),
                    face.embedding.tobytes(),
                )
                for photo in store.photos()
                for face in store.faces_of(photo.photo_id)
            ]


@pytest.fixture(scope="session")
def portraits(tmp_path_factory: pytest.TempPathFactory, find_sample: Callable[[str], Path]) -> Path:
    """Six small photos, each with one face of t1.jpg."""
    folder = tmp_path_factory.mktemp("portraits")
    group = Image.open(find_sample("t1.jpg"))
    for number, (x, y) in enumerate([(110, 330), (320, 210), (520, 340), (795, 410), (955, 130), (1170, 340)]):
        group.crop((x - 105, y - 115, x + 105, y + 115)).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def album(tmp_path: Path, portraits: Path) -> Album:
    shutil.copytree(portraits, tmp_path / "album")
    return Album(tmp_path / "album")


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
def stopping(album: Album, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Six more photos, and a stop after three have been processed; the next ones are slow."""
    for number in range(6):
        with Image.open(album.folder / f"{number}.png") as picture:
            picture.point(lambda v: v * 9 // 10).save(album.folder / f"{number}-darker.png")
    done: list[int] = []
    detect = Detector.detect

    def slow(self: Detector, photos: list[np.ndarray]) -> object:
        if 2 <= len(done) < 8:
            time.sleep(0.5)
        found = detect(self, photos)
        done.append(1)
        return found

    monkeypatch.setattr(Detector, "detect", slow)
    return lambda: 15 if len(done) >= 3 else 0


def later(path: Path) -> None:
    """Give a file another mtime."""
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 2_000_000_000))


def test_a_run_indexes_what_is_there(album: Album) -> None:
    report = album.run()
    assert (report.photos.seen, report.photos.new, report.photos.total) == (6, 6, 6)
    assert report.faces.added == report.faces.total >= 6
    assert report.device == "cpu"
    assert report.provider == "CPUExecutionProvider"
    assert report.stages["detect"].busy_seconds > 0
    assert not report.skipped


def test_a_second_run_opens_no_model(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    album.run()
    before = album.bits()
    monkeypatch.setattr(EngineChoice, "open", None)
    report = album.run()
    assert (report.photos.unchanged, report.photos.new, report.device) == (6, 0, "")
    assert album.bits() == before


def test_relative_paths_are_kept_as_what_they_name(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(album.folder.parent)
    index_photos(IndexRequest(".facecli", ("album", f"/{album.folder}"), ("album/../album/0.png",)))
    with open_reader(album.index) as store:
        assert store.roots() == (str(album.folder),)
        assert all(os.path.exists(photo.file.path) for photo in store.photos())
    monkeypatch.chdir("/")
    assert album.run().photos.unchanged == 6
    for wrong in (
        IndexRequest(str(album.index), ("",)),
        IndexRequest("", ("album",)),
        IndexRequest(".facecli", (), ("",)),
    ):
        with pytest.raises(UsageError, match="an empty name"):
            index_photos(wrong)
    with pytest.raises(UsageError, match="not a single string"):
        index_photos(IndexRequest(str(album.index), str(album.folder)))  # type: ignore[arg-type]


def test_directories_that_another_user_wrote_into_the_index_are_not_read(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    album.run()
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(album.index).st_uid + 1)
    with pytest.raises(UsageError, match="belongs to another user") as caught:
        index_photos(IndexRequest(str(album.index)))
    assert f"-i {album.index} " in caught.value.hint
    assert album.run(album.folder).photos.unchanged == 6
    assert album.run(listed=[album.folder / "0.png"]).photos.unchanged == 1
    (album.folder / "sub").mkdir()
    with pytest.raises(StoreError, match="6 photos could not be reached"):
        album.run(album.folder / "sub", migrate=True, det_size=320)


def test_without_a_path_the_known_directories_are_run(album: Album, portraits: Path) -> None:
    with pytest.raises(UsageError, match="no photos were given"):
        index_photos(IndexRequest(str(album.index)))
    album.run()
    shutil.copy(portraits / "0.png", album.folder / "again.png")
    report = index_photos(IndexRequest(str(album.index)))
    assert (report.photos.new, report.photos.unchanged) == (1, 6)


def test_a_touched_photo_is_unchanged(album: Album, counted: list[int]) -> None:
    album.run()
    ids = album.faces()
    counted.clear()
    later(album.folder / "0.png")
    report = album.run()
    assert (report.photos.unchanged, report.photos.changed, album.faces(), counted) == (6, 0, ids, [])
    assert album.run().stages["read"].busy_seconds == 0, "the new time is on record"


@pytest.fixture
def keeping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Treat the album's file system as one with stable inodes, on any test machine."""
    monkeypatch.setattr(mounts, "keeps_inodes", lambda _: True)


def replace_by(path: Path, data: bytes) -> None:
    """Replace a file by another one of the same size and mtime."""
    state = path.stat()
    path.with_name("beside").write_bytes(data)
    path.with_name("beside").replace(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def pad(path: Path, size: int) -> bytes:
    """A photo's bytes, made longer."""
    return path.read_bytes().ljust(size, b"\0")


@pytest.mark.usefixtures("keeping")
def test_a_photo_replaced_by_another_of_its_size_and_time_is_changed(album: Album) -> None:
    size = 1 + max(p.stat().st_size for p in album.folder.iterdir())
    for path in album.folder.iterdir():
        path.write_bytes(pad(path, size))
    album.run()
    ids = album.faces()
    replace_by(album.folder / "0.png", pad(album.folder / "1.png", size))
    report = album.run()
    assert (report.photos.changed, report.photos.unchanged) == (1, 5)
    assert album.faces()["album/0.png"] != ids["album/0.png"]
    assert album.run().photos.unchanged == 6


@pytest.mark.usefixtures("keeping")
def test_the_same_content_in_another_inode_is_read_and_not_looked_at(album: Album, counted: list[int]) -> None:
    album.run()
    counted.clear()
    replace_by(album.folder / "0.png", (album.folder / "0.png").read_bytes())
    (album.folder / "1.png").chmod(0o600)
    report = album.run()
    assert (report.photos.unchanged, report.photos.changed, counted) == (6, 0, [])
    assert report.stages["read"].busy_seconds > 0
    assert album.run().stages["read"].busy_seconds == 0, "the new inode is on record"


@pytest.mark.usefixtures("keeping")
def test_a_broken_photo_restored_with_its_size_and_time_is_read(album: Album) -> None:
    whole = (album.folder / "0.png").read_bytes()
    (album.folder / "0.png").write_bytes(b"x" * len(whole))
    assert album.run().photos.skipped == 1
    assert album.run().skipped[0].known
    replace_by(album.folder / "0.png", whole)
    report = album.run()
    assert (report.photos.new, report.photos.skipped) == (1, 0)


@pytest.mark.usefixtures("keeping")
def test_an_index_that_knows_no_inodes_takes_its_files_as_unchanged_and_learns_them(album: Album) -> None:
    (album.folder / "bad.jpg").write_text("no image at all\n" * 9)
    album.run()
    database = sqlite3.connect(album.index / "catalog.db")
    for table in ("photos", "skips"):
        database.execute(f"UPDATE {table} SET ctime_ns = NULL, inode = NULL")
    database.commit()
    database.close()
    report = album.run()
    assert (report.photos.unchanged, report.photos.skipped, report.stages["read"].busy_seconds) == (6, 1, 0)
    with open_reader(album.index) as store:
        for name in ("0.png", "5.png", "bad.jpg"):
            known, state = store.at(str(album.folder / name)), (album.folder / name).stat()
            assert known is not None
            assert (known.file.ctime_ns, known.file.inode) == (state.st_ctime_ns, state.st_ino)


def test_a_photo_with_other_pixels_is_changed(album: Album, portraits: Path) -> None:
    album.run()
    ids = album.faces()
    shutil.copy(portraits / "1.png", album.folder / "0.png")
    later(album.folder / "0.png")
    report = album.run()
    assert (report.photos.changed, report.photos.unchanged) == (1, 5)
    assert album.faces()["album/0.png"] != ids["album/0.png"]


def test_a_rewritten_photo_of_the_same_pixels_keeps_its_face_ids(album: Album) -> None:
    album.run()
    ids = album.faces()
    with Image.open(album.folder / "0.png") as picture:
        picture.save(album.folder / "0.png", compress_level=1)
    later(album.folder / "0.png")
    report = album.run()
    assert report.photos.changed == 1
    assert album.faces() == ids


def test_moved_photos_keep_their_faces_without_a_look(album: Album, counted: list[int]) -> None:
    album.run()
    ids = album.faces()
    counted.clear()
    (album.folder / "deep").mkdir()
    (album.folder / "0.png").rename(album.folder / "deep" / "x.png")
    (album.folder / "5.png").rename(album.folder / "y.png")
    report = album.run()
    assert (report.photos.moved, report.photos.new, report.photos.removed, report.photos.total, counted) == (
        2,
        0,
        0,
        6,
        [],
    )
    assert album.faces()["album/deep/x.png"] == ids["album/0.png"]
    assert album.faces()["album/y.png"] == ids["album/5.png"]


def test_of_several_new_copies_the_first_is_the_moved_one(album: Album) -> None:
    album.run()
    ids = album.faces()
    shutil.copy(album.folder / "0.png", album.folder / "b.png")
    (album.folder / "0.png").rename(album.folder / "a.png")
    report = album.run()
    assert (report.photos.moved, report.photos.new, report.photos.total) == (1, 1, 7)
    assert album.faces()["album/a.png"] == ids["album/0.png"]
    assert album.faces()["album/b.png"] != ids["album/0.png"]


def test_copies_share_one_look(album: Album, counted: list[int]) -> None:
    for copy in ("a.png", "b.png", "c.png"):
        shutil.copy(album.folder / "0.png", album.folder / copy)
    report = album.run(jobs=4)
    assert (report.photos.new, len(counted)) == (9, 6)
    shutil.copy(album.folder / "1.png", album.folder / "d.png")
    assert album.run().photos.new == 1
    assert len(counted) == 6, "a copy of an indexed photo needs no look"


def test_photos_that_change_places_end_right(album: Album) -> None:
    album.run()
    one, other = album.folder / "0.png", album.folder / "1.png"
    one.rename(album.folder / "spare")
    other.rename(one)
    (album.folder / "spare").rename(other)
    later(one)
    later(other)
    album.run()
    swapped = {path: bits for path, *bits in album.bits()}
    shutil.rmtree(album.index)
    album.run()
    afresh = {path: bits for path, *bits in album.bits()}
    assert {path: bits[1:] for path, bits in swapped.items()} == {path: bits[1:] for path, bits in afresh.items()}


def test_force_looks_again_and_keeps_the_ids(album: Album, counted: list[int]) -> None:
    album.run()
    before = album.bits()
    counted.clear()
    report = album.run(force=True)
    assert (report.photos.unchanged, report.photos.changed, len(counted)) == (0, 6, 6)
    assert album.bits() == before


def test_force_follows_a_photo_that_has_moved(album: Album, counted: list[int]) -> None:
    album.run()
    ids = {faces[0] for faces in album.faces().values()}
    (album.folder / "0.png").rename(album.folder / "moved.png")
    shutil.copyfile(album.folder / "1.png", album.folder / "copy.png")
    counted.clear()
    said = album.run(force=True, dry_run=True).photos
    done = album.run(force=True).photos
    assert (done.moved, done.new, done.changed, done.removed, len(counted)) == (1, 1, 5, 0, 6)
    assert (said.moved, said.new, said.changed, said.removed) == (1, 1, 5, 0)
    assert ids < {faces[0] for faces in album.faces().values()}


def test_what_is_gone_goes(album: Album) -> None:
    album.run()
    (album.folder / "0.png").unlink()
    assert album.run(prune=False).photos.total == 6
    report = album.run()
    assert (report.photos.removed, report.photos.total) == (1, 5)
    assert report.faces.removed >= 1


def test_a_list_never_prunes(album: Album) -> None:
    album.run()
    (album.folder / "0.png").unlink()
    report = album.run(listed=[album.folder / "0.png", album.folder / "1.png"])
    assert [s.reason for s in report.skipped] == ["vanished"]
    assert (report.photos.removed, report.photos.total) == (0, 6)


def test_a_missing_or_empty_root_is_never_all_deleted(album: Album) -> None:
    album.run()
    away = album.folder.parent / "away"
    album.folder.rename(away)
    with pytest.raises(PhotoError, match="no such file or directory"):
        album.run()
    album.folder.mkdir()
    assert album.run().photos.total == 6
    assert any("contains none of its photos now" in warning for warning in album.notes.warnings)
    album.folder.rmdir()
    away.rename(album.folder)
    assert album.run().photos.unchanged == 6


def test_a_root_within_a_root_counts_once(album: Album) -> None:
    """Photos below both roots count only below the outer one, both its missing photos and its total."""
    sub = album.folder / "sub"
    sub.mkdir()
    for number in range(230):
        (sub / f"bad{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(number))
        (album.folder / f"bad{number}.jpg").write_bytes(b"\xff\xd8\xff" + bytes(number))
    (album.folder / "0.png").rename(sub / "0.png")
    album.run(sub, album.folder)
    with open_reader(album.index) as store:
        assert store.roots() == (str(album.folder),)
    (sub / "0.png").unlink()
    report = album.run(album.folder, sub)
    assert (report.photos.removed, report.photos.seen, report.photos.total) == (1, 465, 5)
    shutil.rmtree(sub)
    sub.mkdir()
    album.run(album.folder, sub)
    assert not any("moved" in line or "kept" in line for line in album.notes.warnings[1:])


def test_one_missing_root_of_two_is_told(album: Album) -> None:
    report = album.run(album.folder, album.folder.parent / "none")
    assert report.missing_roots == [str(album.folder.parent / "none")]
    assert report.photos.total == 6


def test_what_an_option_hides_is_not_gone(album: Album) -> None:
    (album.folder / "below").mkdir()
    (album.folder / "0.png").rename(album.folder / "below/0.png")
    album.run()
    report = album.run(scan=ScanOptions(recursive=False))
    assert (report.photos.seen, report.photos.removed, report.photos.total) == (5, 0, 6)


def test_a_place_that_was_a_mount_point_and_is_none_now_is_kept(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = album.folder / "disk"
    disk.mkdir()
    shutil.copy(album.folder / "0.png", disk / "on-disk.png")
    import facecli.photos.scan as scan_module

    monkeypatch.setattr(scan_module.Scan, "mounts", property(lambda _: [str(disk)], lambda *_: None), raising=False)
    album.run()
    monkeypatch.setattr(scan_module.Scan, "mounts", property(lambda _: [], lambda *_: None), raising=False)
    (disk / "on-disk.png").unlink()
    report = album.run()
    assert (report.photos.removed, report.photos.total) == (0, 7)


def test_bad_files_are_named_once_and_not_read_again(album: Album) -> None:
    (album.folder / "bad.jpg").write_text("no image at all\n" * 9)
    first = album.run()
    assert [(os.path.basename(s.file.path), s.reason, s.known) for s in first.skipped] == [
        ("bad.jpg", "not-an-image", False)
    ]
    second = album.run()
    assert [(s.known, second.photos.skipped, second.photos.seen) for s in second.skipped] == [(True, 1, 7)]
    again = album.run(retry_skipped=True)
    assert [s.known for s in again.skipped] == [False]
    (album.folder / "bad.jpg").unlink()
    assert not album.run().skipped
    with open_reader(album.index) as store:
        assert not list(store.skips())


def test_other_settings_are_refused_with_both_values(album: Album) -> None:
    album.run()
    with pytest.raises(IndexMismatch, match="det-size 640, not 320"):
        album.run(det_size=320)
    with pytest.raises(IndexMismatch, match="rotate yes, not no, thorough no, not yes"):
        album.run(thorough=True, rotate=False)
    assert album.run().photos.unchanged == 6, "what is not named takes the index's value"


def test_another_pack_is_refused_before_it_is_asked_for(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download would not help; only a migration needs the files."""
    monkeypatch.setenv("HOME", str(album.folder.parent))
    album.run()
    with pytest.raises(IndexMismatch, match="model buffalo_sc, not antelopev2") as caught:
        album.run(model="antelopev2")
    assert "--migrate" in caught.value.hint
    with pytest.raises(PackError, match="not on this machine"):
        album.run(model="antelopev2", migrate=True)
    with open_reader(album.index) as store, pytest.raises(IndexMismatch, match="model buffalo_sc, not antelopev2"):
        choose_pack("antelopev2", store.info)


def test_a_dry_run_changes_nothing(album: Album) -> None:
    report = album.run(dry_run=True)
    assert (report.photos.new, album.index.exists()) == (6, False)
    album.run()
    later(album.folder / "0.png")
    shutil.copy(album.folder / "1.png", album.folder / "new.png")
    report = album.run(dry_run=True)
    assert (report.photos.new, report.photos.changed, report.photos.unchanged, report.photos.total) == (1, 0, 6, 6)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_was_stopped_and_goes_on_gives_the_very_bits(
    album: Album, stopping: Callable[[], int], jobs: int
) -> None:
    stopped = album.run(stop=stopping, jobs=jobs, batch_size=1)
    assert stopped.interrupted_by == 15
    assert 0 < stopped.photos.total < 12
    report = album.run(jobs=jobs)
    assert report.photos.unchanged == stopped.photos.total
    in_two = album.bits()
    shutil.rmtree(album.index)
    album.run(jobs=jobs)
    assert album.bits() == in_two


def test_a_found_face_is_found_by_search(album: Album) -> None:
    album.run()
    with open_reader(album.index) as store:
        photo = next(iter(store.photos()))
        face = store.faces_of(photo.photo_id)[0]
        block = store.nearest(face.embedding[None], top=1, minimum=None, by=By.FACE)[0]
    assert block[0].face_id == face.face_id
    assert block[0].similarity == pytest.approx(1.0, abs=2e-3)


def test_a_migration_embeds_everything_anew_and_then_switches(album: Album) -> None:
    album.run()
    report = album.run(migrate=True, det_size=320)
    assert (report.photos.new, report.photos.total) == (6, 6)
    with open_reader(album.index) as store:
        assert (store.info.fingerprint.detection.det_size, store.info.migrating_to) == (320, None)
    assert album.run().photos.unchanged == 6
    migrated = album.bits()
    shutil.rmtree(album.index)
    album.run(det_size=320)
    assert [(path, box, vector) for path, _, box, vector in migrated] == [
        (path, box, vector) for path, _, box, vector in album.bits()
    ]


def test_a_migration_that_was_stopped_goes_on_while_the_old_set_answers(
    album: Album, request: pytest.FixtureRequest
) -> None:
    album.run()
    before = album.bits()
    stopped = album.run(stop=request.getfixturevalue("stopping"), batch_size=1, migrate=True, det_size=320)
    assert stopped.interrupted_by == 15
    assert album.bits() == before
    report = album.run(migrate=True)
    assert 0 < report.photos.new < 12
    with open_reader(album.index) as store:
        assert store.info.fingerprint.detection.det_size == 320


def test_a_migration_back_to_what_the_index_has_gives_up_the_one_that_was_stopped(
    album: Album, stopping: Callable[[], int]
) -> None:
    album.run()
    before = album.bits()
    assert album.run(stop=stopping, batch_size=1, migrate=True, det_size=320).interrupted_by == 15
    report = album.run(migrate=True, det_size=640)
    assert report.photos.unchanged == report.photos.total == 12
    with open_reader(album.index) as store:
        assert store.info.migrating_to is None
    assert album.bits() == before


def test_photos_that_cannot_be_reached_hold_the_switch_back(album: Album) -> None:
    other = album.folder.parent / "other"
    other.mkdir()
    shutil.copy(album.folder / "0.png", other / "far.png")
    album.run(album.folder, other)
    before = album.bits()
    (album.folder / "1.png").unlink()
    other.rename(album.folder.parent / "unplugged")
    with pytest.raises(StoreError, match="1 photo could not be reached"):
        album.run(migrate=True, det_size=320)
    assert album.notes.warnings[-1] == f"not embedded again: {other / 'far.png'}"
    assert len(album.bits()) == len(before) - 1, "what is gone for certain is gone"
    said = album.run(migrate=True, det_size=320, drop_unreachable=True, dry_run=True)
    done = album.run(migrate=True, det_size=320, drop_unreachable=True)
    assert said.photos.removed == done.photos.removed == 1
    assert not any("kept" in warning for warning in album.notes.warnings[-2:])
    with open_reader(album.index) as store:
        assert (store.info.photos, store.info.fingerprint.detection.det_size) == (5, 320)


def test_a_photo_named_by_itself_is_migrated_too(album: Album) -> None:
    album.run(album.folder / "0.png", album.folder / "1.png")
    report = album.run(album.folder / "0.png", migrate=True, det_size=320)
    assert (report.photos.new, report.photos.total) == (2, 2)


def test_as_many_workers_as_were_asked_for_have_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each thread waits in its first file until all have started."""
    workers = 150
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(workers):
        (folder / f"{number:03}.jpg").write_text("no image\n" * 9)
    together = threading.Barrier(workers)
    read = PhotoReader.read

    def reading(self: PhotoReader, file: PhotoFile) -> FileContents | Skipped:
        together.wait(timeout=120)
        return read(self, file)

    monkeypatch.setattr(PhotoReader, "read", reading)
    report = Album(folder).run(jobs=workers)
    assert (report.photos.skipped, together.broken) == (workers, False)


def test_a_run_that_computes_nothing_names_no_device(album: Album) -> None:
    album.run()
    shutil.copy(album.folder / "0.png", album.folder / "copy.png")
    (album.folder / "bad.jpg").write_text("no image\n" * 9)
    report = album.run()
    assert (report.photos.new, report.photos.skipped, report.device, report.provider) == (1, 1, "", "")


def test_a_root_that_vanishes_while_its_photos_are_counted_costs_the_count(
    album: Album, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that ends a thread already fails a test."""
    counted = threading.Event()

    def vanished(request: IndexRequest, before: Before, part: str) -> Scan:
        if threading.current_thread() is threading.main_thread():
            return open_scan(request, before, part)
        counted.set()
        return open_scan(replace(request, roots=(str(album.folder / "gone"),)), before, part)

    open_scan = _open_scan
    monkeypatch.setattr("facecli.indexing.index_photos._open_scan", vanished)
    monkeypatch.setattr(Notes, "watched", True)
    assert album.run().photos.total == 6
    assert counted.wait(60)
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and "expect" in thread.name:
            thread.join(60)
