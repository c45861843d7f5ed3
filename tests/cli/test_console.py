"""Output on stderr while a command works."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import tqdm

from facecli.cli.console import LINE_SECONDS, Console
from facecli.cli.streams import Descriptor, Text, say_error
from facecli.reporting import SilentReporter, counting
from facecli.types import PhotoFile, Skipped, SkipReason


class Stderr(io.TextIOWrapper):
    """A stderr that keeps its bytes, and is a terminal or not."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__(io.BytesIO(), "utf-8", write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def said(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(errors="surrogateescape")


def test_off_a_terminal_a_plain_line_tells_the_state_every_ten_seconds(capfd: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    console = Console(quiet=False, verbose=False, clock=lambda: now[0])
    console.start("photos", None)
    for second in range(25):
        now[0] = 100.0 + second
        if second == 12:
            console.expect(100)
        console.advance(2, faces=3 * second, skipped=1)
    console.stop()
    assert capfd.readouterr().err.splitlines() == [
        "22 photos, 2.2 photos/s, 30 faces, 1 skipped",
        "42 of 100 photos, 2.1 photos/s, 28 s left, 60 faces, 1 skipped",
    ]
    assert LINE_SECONDS == 10


def test_what_is_unchanged_tells_no_rate_and_more_than_expected_is_no_less(capfd: pytest.CaptureFixture[str]) -> None:
    """A run that goes on after 1000 s of unchanged photos: two photos a second from there on."""
    now = [0.0]
    console = Console(quiet=False, verbose=False, clock=lambda: now[0])
    console.start("photos", None)
    for second in range(0, 1001, 5):
        now[0] = float(second)
        console.advance(0, unchanged=100 * second)
    console.expect(100)
    capfd.readouterr()
    now[0] = 1010.0
    console.advance(20)
    assert capfd.readouterr().err == "20 of 100 photos, 2.0 photos/s, 40 s left, 100000 unchanged\n"
    now[0] = 1060.0
    console.advance(100)
    assert capfd.readouterr().err == "120 of 120 photos, 2.0 photos/s, 0 s left, 100000 unchanged\n"


@pytest.mark.parametrize(("rate", "left"), [(1.0, "10 min left"), (0.05, "3 h 30 min left")])
def test_a_long_time_is_said_as_people_say_it(capfd: pytest.CaptureFixture[str], rate: float, left: str) -> None:
    now = [0.0]
    console = Console(quiet=False, verbose=False, clock=lambda: now[0])
    console.start("photos", 630 if rate == 1.0 else 633)
    now[0] = 30 / rate if rate == 1.0 else 60.0
    console.advance(30 if rate == 1.0 else 3)
    assert left in capfd.readouterr().err


def test_a_bar_says_what_it_counts_as_people_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for what in ("queries", "photos", "MB"):
        stream = Stderr(terminal=True)
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        console = Console(quiet=False, verbose=False)
        console.start(what, 8)
        console.advance(3)
        console.stop()
        assert f" {what}/s" in stream.said()


def test_quiet_is_silent_and_verbose_says_more(capfd: pytest.CaptureFixture[str]) -> None:
    for quiet, verbose in ((True, True), (False, False), (False, True)):
        console = Console(quiet=quiet, verbose=verbose)
        console.warn("warned")
        console.detail("detailed")
    assert capfd.readouterr().err.split() == ["warned", "warned", "detailed"]


def test_a_skipped_photo_is_named_as_the_user_would_type_it(
    capfd: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path_factory.mktemp("here")
    monkeypatch.chdir(here)
    Console(quiet=False, verbose=False).skip(
        Skipped(PhotoFile(f"{here}/a\n\udcff.jpg", 1, 1), SkipReason.TRUNCATED, "half of it")
    )
    assert capfd.readouterr().err == "skipped: a\\n\ufffd.jpg: truncated: half of it\n"


def test_on_a_terminal_a_bar_is_drawn_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Stderr(terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    console = Console(quiet=False, verbose=False)
    console.start("photos", 8)
    console.advance(3, faces=5)
    console.warn("a line above the bar")
    console.expect(9)
    console.stop()
    said = stream.said()
    assert "photo" in said
    assert "a line above the bar\n" in said
    assert "\r" in said


def test_an_error_takes_the_place_of_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A query that fails is told while the others are counted."""
    with open(tmp_path / "terminal", "w+b") as file:
        monkeypatch.setattr(sys, "stderr", Text(Descriptor(file.fileno())))
        bar = tqdm.tqdm(total=9, file=sys.stderr, ncols=40, leave=False, mininterval=0)
        bar.update(1)
        say_error("no such photo: gone.jpg", "another")
        bar.update(1)
        bar.close()
        say_error("the last", "")
        file.seek(0)
        lines = file.read().split(b"\n")
    assert lines[0].endswith(b"]\r\x1b[Kfacecli: error: no such photo: gone.jpg")
    assert lines[1].endswith(b"hint: another")
    assert lines[2].endswith(b" \rfacecli: error: the last")


def test_counting_ends_with_an_error() -> None:
    class Bar(SilentReporter):
        stopped = 0

        def stop(self) -> None:
            self.stopped += 1

    bar = Bar()
    with pytest.raises(ValueError, match="broken"), counting(bar, "photos", 3):
        raise ValueError("broken")
    assert bar.stopped == 1
