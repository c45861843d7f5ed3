"""`facecli index` as its users run it: exit codes, lists of files, and the report."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from facecli.cli.console import Console
from facecli.cli.report import tell_report
from facecli.pipeline.clock import STAGES
from facecli.types import IndexReport, PhotoCounts, StageTime

if TYPE_CHECKING:
    from conftest import Shell


@pytest.fixture
def many(shell: Shell, find_sample: Callable[[str], Path]) -> Path:
    """Forty photos that all differ, enough for a run of some seconds."""
    folder = shell.work / "many"
    folder.mkdir()
    with Image.open(find_sample("gdp.jpg")) as picture:
        for number in range(40):
            picture.point(lambda v, n=number: int(v * (1 - n / 100))).save(folder / f"{number:02}.jpg", quality=90)
    return folder


def start(shell: Shell, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the command and wait for its first commit."""
    command = [sys.executable, "-m", "facecli", "index", "--batch-size", "2", *arguments]
    process = subprocess.Popen(command, cwd=shell.work, env=shell.environment, stderr=subprocess.PIPE)
    vectors = shell.work / ".facecli" / "vectors-1.faiss"
    deadline = time.monotonic() + 60
    while (
        not (vectors.exists() and vectors.stat().st_size > 5000)
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_and_keeps_what_is_done(shell: Shell, many: Path, number: signal.Signals) -> None:
    process = start(shell, str(many))
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    lines = errors.decode().splitlines()
    # Where the signal meets the run while no photo is in progress, it ends without the notice.
    told = [line for line in lines if line.startswith("finishing")]
    assert told in ([], ["finishing the photos in progress; press Ctrl-C again to stop at once"])
    assert lines[-1].startswith("facecli: error: stopped early; ")
    assert shell("check").code == 0
    report = json.loads(shell("index", "--json", many).text)
    assert 0 < report["photos"]["unchanged"] < 40
    assert report["photos"]["total"] == 40


def test_a_second_signal_leaves_at_once_and_safely(shell: Shell, many: Path) -> None:
    process = start(shell, str(many))
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (130, 143)
    assert shell("check").code == 0
    assert json.loads(shell("index", "--json", many).text)["photos"]["total"] == 40


@pytest.mark.usefixtures("album")
def test_lists_come_from_files_and_stdin(shell: Shell) -> None:
    (shell.work / "list").write_text("album/sport/players.jpg\nalbum/party/gdp.jpg\n")

    def total(*arguments: str, stdin: bytes = b"") -> int:
        count: int = json.loads(
            shell("index", "--json", "-i", f"index{len(os.listdir(shell.work))}", *arguments, stdin=stdin).text
        )["photos"]["total"]
        return count

    assert total("--files-from", "list") == 2
    assert total("-", stdin=b"album/space/astronaut.png\n") == 1
    assert total("-0", "-", stdin=b"album/space/astronaut.png\0album/party/t1.jpg") == 2
    assert total("--files-from", "list", "album/space") == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("-0", "album"), "-0 needs a list"),
        (("-", "--files-from", "-"), "stdin can be read only once"),
        (("--files-from", "none"), "the list cannot be read"),
        (("--det-size", "100", "album"), "not a multiple of 32"),
        (("--drop-unreachable", "album"), "--drop-unreachable needs --migrate"),
        (("nowhere",), "no such file or directory"),
        ((), "no photos were given"),
        (("-d", "abacus", "album"), "abacus"),
    ],
)
@pytest.mark.usefixtures("album")
def test_a_wrong_call_is_one_line_and_makes_no_index(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    ran = shell("index", *arguments, code=2)
    (line, *hints) = ran.errors.splitlines()
    assert line.startswith("facecli: error: ")
    assert said in line
    assert all(hint.startswith("hint: ") for hint in hints)
    assert ran.out == b""
    assert not (shell.work / ".facecli").exists()


def report(shell: Shell, *arguments: str | Path, code: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(shell("index", "--json", *arguments, code=code).text)
    return found


def test_the_report_says_what_was_passed_by_and_why(shell: Shell, album: Path) -> None:
    (album / os.fsdecode(b"bad-\xff.jpg")).write_text("nothing\n" * 9)
    first = report(shell, album, code=3)
    assert first["skipped"] == [
        {
            "path": "album/bad-\ufffd.jpg",
            "path_base64": "YWxidW0vYmFkLf8uanBn",
            "reason": "not-an-image",
            "detail": "the content is text",
        }
    ]
    assert first["bottleneck"] in first["stages"]
    assert set(first["stages"]) == {"scan", "read", "decode", "detect", "align", "embed", "write"}
    assert shell("index", album, "--strict", code=3).errors == shell("index", album).errors
    again = shell("index", album)
    assert "1 photo could not be read by an earlier run, unchanged since" in again.errors
    assert "bad-" not in again.errors


def test_one_missing_root_of_two_is_exit_3(shell: Shell, album: Path) -> None:
    ran = shell("index", album, "nowhere", code=3)
    assert "no such file or directory: " in ran.errors
    assert "4 photos with 34 faces" in ran.errors


def test_what_was_removed_is_counted_as_kept_out(shell: Shell, indexed_album: Path) -> None:
    album = indexed_album
    shell("remove", "album/party/gdp.jpg")
    ran = shell("index", album)
    assert "1 photo or face removed earlier left out again" in ran.errors
    assert report(shell, album)["photos"] == {
        "seen": 4,
        "new": 0,
        "changed": 0,
        "moved": 0,
        "unchanged": 3,
        "removed": 0,
        "skipped": 0,
        "total": 3,
    }


def test_a_face_that_was_removed_stays_out_of_its_photo(shell: Shell, indexed_album: Path) -> None:
    album = indexed_album
    rows = [line.split("\t") for line in shell("search", "album/party/gdp.jpg", "-k", "1").text.splitlines()]
    shell("remove", f"face:{rows[0][2]}")
    shell("index", "-q", "--force", album)
    assert report(shell, album)["faces"]["total"] == 33
    shutil.copy(album / "party" / "gdp.jpg", album / "copy.jpg")
    assert report(shell, album)["faces"]["total"] == 33 + 4, "a copy of the photo has the face neither"


def test_a_dry_run_says_what_would_be(shell: Shell, album: Path) -> None:
    ran = shell("index", "--dry-run", album)
    would = "0 photos with 0 faces in the index; nothing was changed; a run would see 4 photos: 4 new"
    assert ran.errors == f"a new index would be made: {shell.work}/.facecli\n{would}\n"
    assert not (shell.work / ".facecli").exists()
    shell("index", "-q", album)
    (album / "party" / "t1.jpg").unlink()
    (album / "sport" / "players.jpg").rename(album / "team.jpg")
    said = "4 photos with 34 faces in the index; nothing was changed; a run would see 3 photos: 1 moved, 2 unchanged; and remove 1 from the index"  # noqa: E501
    assert shell("index", "--dry-run", album).errors == f"{said}\n"
    assert report(shell, "--dry-run", album)["photos"]["total"] == 4


def test_a_missing_root_names_the_way_to_forget_it(shell: Shell, album: Path) -> None:
    other = shell.work / "with space"
    other.mkdir()
    shutil.copy(album / "party" / "t1.jpg", other / "six.jpg")
    shell("index", "-q", album, other)
    shutil.rmtree(other)
    way = f"facecli remove --root '{other}'"
    ran = shell("index", code=3)
    assert way in ran.errors
    assert way in shell("index", other, code=2).errors
    assert way in shell("remove", "--missing").errors
    shell("remove", "--root", "with space")
    assert "with space" not in shell("index").errors


def test_what_would_be_faster_is_said_only_where_that_helps(shell: Shell, album: Path) -> None:
    assert "limited by" not in shell("index", album).errors
    forced = shell("index", "-v", "--force", album).errors
    assert re.search(r"^4 photos with .*; limited by \w+: .* would help$", forced, re.MULTILINE)
    shutil.copyfile(album / "party/gdp.jpg", album / "copy.jpg")
    (album / "bad.jpg").write_text("no image\n" * 9)
    without_a_look = shell("index", "-v", album, code=3).errors
    assert "5 photos with 39 faces" in without_a_look
    assert "limited by" not in without_a_look


@pytest.mark.parametrize(("seconds", "said"), [(59.0, False), (61.0, True)])
def test_after_a_minute_it_is_said_unasked(capfd: pytest.CaptureFixture[str], seconds: float, said: bool) -> None:  # noqa: FBT001 (a parameter)
    stages = {stage: StageTime(busy_seconds=1.0) for stage in STAGES}
    made = IndexReport(
        "/index", "pack", "cpu", "CPUExecutionProvider", seconds, PhotoCounts(seen=9, new=9, total=9), stages=stages
    )
    tell_report(made, Console(quiet=False, verbose=False), dry_run=False)
    assert ("limited by" in capfd.readouterr().err) == said


def test_it_says_which_index_it_makes_or_finds_above(shell: Shell, album: Path) -> None:
    assert shell("index", album).errors.startswith(f"a new index: {shell.work}/.facecli\n")
    assert shell("index", ".", cwd=album / "party").errors.startswith(f"the index found above: {shell.work}/.facecli\n")
    assert ".facecli" not in shell("index").errors
    assert ".facecli" not in shell("index", "-i", "../../.facecli", ".", cwd=album / "party").errors


def test_one_line_sums_up(shell: Shell, album: Path) -> None:
    said = shell("index", album).errors.splitlines()
    assert len(said) == 2
    numbers = r"34 faces added in [\d.]+ s, [\d.]+ photos/s, on cpu \(CPUExecutionProvider, \d+ jobs?\)"
    assert re.fullmatch(rf"4 photos with 34 faces in the index; of 4 seen 4 new; {numbers}", said[1])


def test_known_trouble_is_no_news(shell: Shell, album: Path) -> None:
    """A file whose content is at fault is news once, and again when it changes or is read again on request."""
    (album / "bad.jpg").write_text("no image")
    shell("index", album, code=3)
    shell("index")
    assert [skip["known"] for skip in report(shell, "--strict", code=3)["skipped"]] == [True]
    (album / "bad.jpg").write_text("no image yet")
    shell("index", code=3)
    shell("index")
    shell("index", "--retry-skipped", code=3)
    shell("index", album, "nowhere", code=3)
