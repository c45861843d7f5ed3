"""How many photos a run expects to read."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from facecli.config import IndexOptions, ScanOptions
from facecli.indexing.expectation import PATIENCE, Expectation, count_work
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.photos.scan import Scan
from facecli.reporting import SilentReporter
from facecli.store.reader import open_reader


class Watcher(SilentReporter):
    """A reporter that is watched, and records what it is told."""

    watched = True

    def __init__(self) -> None:
        self.totals: list[int] = []
        self.done, self.unchanged = 0, 0
        self.faces: list[int] = []
        self.told = threading.Event()

    def expect(self, total: int) -> None:
        self.totals.append(total)
        self.told.set()

    def advance(self, done: int, **counts: int) -> None:
        self.done += done
        self.unchanged = max(self.unchanged, counts.get("unchanged", 0))
        self.faces += [counts["faces"]] if "faces" in counts else []


def test_only_what_is_read_is_expected(make_album: Callable[[Path], Path], tmp_path: Path) -> None:
    album = make_album(tmp_path / "album")
    (album / "bad.jpg").write_text("no image")
    index_photos(IndexRequest(str(tmp_path / "index"), (str(album),), options=IndexOptions(jobs=1)))
    shutil.copyfile(album / "party/t1.jpg", album / "a-new.jpg")
    shutil.copyfile(album / "party/t1.jpg", album / "sport/z-new.jpg")
    (album / "party/gdp.jpg").write_bytes((album / "party/gdp.jpg").read_bytes() + b"changed")
    with open_reader(tmp_path / "index") as reader:
        scan = Scan([str(album)], ScanOptions())
        assert count_work(scan, reader, IndexOptions(), lambda: False) == 3
        assert count_work(Scan([str(album)], ScanOptions()), reader, IndexOptions(force=True), lambda: False) == 6
        assert count_work(Scan([str(album)], ScanOptions()), reader, IndexOptions(), lambda: True) == 1
    watcher = Watcher()
    report = index_photos(IndexRequest(str(tmp_path / "index"), (str(album),), options=IndexOptions(jobs=1)), watcher)
    assert (report.photos.new, report.photos.changed, report.photos.unchanged) == (2, 1, 3)
    assert watcher.done == 3, "what is unchanged is no progress"
    assert watcher.totals in ([3], []), "a short run may end before the count"


def test_faces_are_told_when_they_are_found_not_when_they_are_committed(
    make_album: Callable[[Path], Path], tmp_path: Path
) -> None:
    watcher, album = Watcher(), make_album(tmp_path / "album")
    options = IndexOptions(jobs=1)
    report = index_photos(IndexRequest(str(tmp_path / "index"), (str(album),), options=options), watcher)
    assert (report.faces.added, watcher.faces) == (34, [5, 11, 12, 34])
    index_photos(IndexRequest(str(tmp_path / "index"), options=IndexOptions(jobs=1, force=True)), watcher)
    assert watcher.faces[4:] == watcher.faces[:4], "those that stay are found, too"


def test_the_count_ends_with_the_run() -> None:
    watcher, hangs, leave = Watcher(), threading.Event(), threading.Event()

    def count(enough: Callable[[], bool]) -> int:
        while not enough():
            hangs.set()
        return 5

    expectation = Expectation(watcher, count)
    expectation.begin()
    assert hangs.wait(60)
    expectation.end()
    assert watcher.totals == [], "what it found is of no more use"

    def hang(_: Callable[[], bool]) -> int:
        leave.wait(30 * PATIENCE)
        raise RuntimeError("the index is closed")

    stuck = Expectation(watcher, hang)
    stuck.begin()
    stuck.end()
    assert not leave.is_set(), "the run does not wait for it"
    leave.set()
