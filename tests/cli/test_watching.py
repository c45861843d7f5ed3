"""`index --watch`: changes are indexed within seconds, in silence where nothing changed, until a signal ends it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from facecli.cli.watching import Watching, is_news
from facecli.config import OUTPUT_NAME
from facecli.indexing.request import IndexRequest
from facecli.pipeline.stopping import Stop
from facecli.reporting import SilentReporter
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer
from facecli.types import IndexReport, PhotoCounts, PhotoFile, Skipped, SkipReason

if TYPE_CHECKING:
    from conftest import Shell

pytest.importorskip("watchfiles", reason="the extra [watch] is not installed")
PATIENCE = 90.0


class Watcher:
    """A running `facecli index --watch --json`."""

    def __init__(self, process: subprocess.Popen[bytes], place: Path) -> None:
        self.process, self.place = process, place
        self.errors = place / "errors"

    def photos(self) -> list[str]:
        with open_reader(self.place / ".facecli") as reader:
            return [os.path.basename(photo.file.path) for photo in reader.photos()]

    def wait(self, what: str, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not until():
            assert self.process.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, f"{what}: {self.errors.read_text()}"
            time.sleep(0.1)

    def end(self, number: int) -> list[dict[str, Any]]:
        """Send a signal; returns the reports."""
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 128 + number
        return [json.loads(line) for line in out.splitlines()]


@contextmanager
def watching(shell: Shell, *arguments: str) -> Iterator[Watcher]:
    with (shell.work / "errors").open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "facecli", "index", "--watch", "--json", *arguments],
            cwd=shell.work,
            env=shell.environment,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    watcher = Watcher(process, shell.work)
    try:
        watcher.wait("the first run", lambda: "watching " in watcher.errors.read_text())
        yield watcher
    finally:
        process.kill()
        process.wait()


def put(photo: Path, place: Path) -> None:
    """Copy a photo into the album, where it appears whole: a copy that waits for a processor is a broken photo."""
    copy = place.parents[1] / "copy"
    shutil.copyfile(photo, copy)
    copy.rename(place)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_changes_are_indexed_until_a_signal(shell: Shell, album: Path, number: int) -> None:
    with watching(shell, "album") as watcher:
        assert len(watcher.photos()) == 4
        put(album / "party/t1.jpg", album / "new.jpg")
        watcher.wait("a new photo", lambda: "new.jpg" in watcher.photos())
        (album / "party/gdp.jpg").rename(album / "moved.jpg")
        watcher.wait("a moved photo", lambda: "moved.jpg" in watcher.photos())
        (album / "new.jpg").unlink()
        watcher.wait("a deleted photo", lambda: "new.jpg" not in watcher.photos())
        put(album / "party/t1.jpg", album / os.fsdecode(b"odd-\xff.jpg"))
        watcher.wait("a name that is not UTF-8", lambda: len(watcher.photos()) == 5)
        (album / ".facecliignore").write_text("space/\n")
        watcher.wait("an exclude", lambda: "astronaut.png" not in watcher.photos())
        (album / "notes.txt").write_text("no photo")
        reports = watcher.end(number)
        changes = [[report["photos"][kind] for kind in ("new", "changed", "moved", "removed")] for report in reports]
        assert changes[0] == [4, 0, 0, 0]
        assert all(any(counts) for counts in changes), "no report where nothing changed"
        said = watcher.errors.read_text()
        assert "error" not in said
        assert "Traceback" not in said


def test_the_same_trouble_is_named_once(shell: Shell, album: Path) -> None:
    with watching(shell, "album", "gone") as watcher:
        (album / "bad.jpg").write_text("no image")
        watcher.wait("a bad file", lambda: "bad.jpg" in watcher.errors.read_text())
        for number in range(2):
            put(album / "party/t1.jpg", album / f"new-{number}.jpg")
            watcher.wait("a new photo", lambda n=number: f"new-{n}.jpg" in watcher.photos())  # type: ignore[misc]
        watcher.end(signal.SIGTERM)
        said = watcher.errors.read_text()
        assert said.count("skipped: album/bad.jpg") == 1
        assert said.count("no such file or directory: ") <= 2, "once in the first run, once afterwards"


def test_another_writer_is_waited_for(shell: Shell, album: Path) -> None:
    with watching(shell, "album") as watcher:
        with open_writer(shell.work / ".facecli"):
            put(album / "party/t1.jpg", album / "new.jpg")
            watcher.wait("the lock", lambda: "another process" in watcher.errors.read_text())
        watcher.wait("a new photo", lambda: "new.jpg" in watcher.photos())
        watcher.end(signal.SIGTERM)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--dry-run"], "--dry-run"),
        (["--force"], "--force"),
        (["--migrate", "--min-score", "0.6"], "--migrate"),
        (["--files-from", "list"], "a list of photos"),
    ],
)
def test_what_cannot_be_repeated_is_refused(shell: Shell, album: Path, arguments: list[str], word: str) -> None:
    (shell.work / "list").write_text(f"{album}/party/t1.jpg\n")
    assert f"which {word} does not allow" in shell("index", "--watch", *arguments, code=2).errors
    assert not (shell.work / ".facecli").exists()


def test_without_the_package_it_says_what_to_install(shell: Shell, tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys; find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'watchfiles' else find(name, *a)\n"
        "from facecli.cli.main import main; main(['index', '--watch', '.'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=shell.environment,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.endswith("hint: pip install watchfiles\n")


def test_only_changes_that_concern_the_index_begin_a_run(tmp_path: Path) -> None:
    request = IndexRequest(str(tmp_path / "index"), (str(tmp_path),))
    watched = Watching(request, SilentReporter(), Stop(), lambda _: None, (str(tmp_path),))
    heard = ["a.jpg", "b/c.PNG", "b", "b/.facecliignore", ".facecliignore", "no-extension"]
    unheard = ["index/catalog.db", "index", ".facecli/catalog.db", "a.txt", ".hidden/a.jpg", "@eaDir/a.jpg", ".a.jpg"]
    unheard += ["movie.mp4", "#recycle/a.jpg", f"out/{OUTPUT_NAME}"]
    assert [name for name in heard if not watched.concerns(str(tmp_path / name))] == []
    assert [name for name in unheard if watched.concerns(str(tmp_path / name))] == []


def test_news_is_a_change_or_new_trouble() -> None:
    skipped = Skipped(PhotoFile("/a", 1, 1), SkipReason.TRUNCATED, "cut", known=True)
    assert not is_news(IndexReport("", "", photos=PhotoCounts(seen=5, unchanged=5, skipped=1), skipped=[skipped]))
    assert is_news(IndexReport("", "", skipped=[Skipped(PhotoFile("/a", 1, 1), SkipReason.TRUNCATED, "cut")]))
    assert is_news(IndexReport("", "", photos=PhotoCounts(removed=1)))
