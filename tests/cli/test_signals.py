"""Ctrl-C, SIGTERM and SIGHUP: one ends a command with nothing in progress at once, and tidily; two end any command."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli.config import OUTPUT_NAME
from facecli.store.disk.lock import WriterLock

if TYPE_CHECKING:
    from conftest import Shell

SIGINT, SIGTERM, SIGHUP = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
PENDING = re.compile(r"^S(?:ig|hd)Pnd:\t(\w+)$", re.MULTILINE)
MARKS = {f"{folder}/{OUTPUT_NAME}" for folder in ("copies", "crops")}
BEGIN = """
import hashlib, sys, time
from pathlib import Path

def wait_for_ever(first=lambda: None):
    first()
    Path("waiting").touch()
    while True:
        time.sleep(0.01)

def compute_for_ever(*_):
    # A library that lets other threads run, but none of Python's signal handlers.
    Path("waiting").touch()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
"""
LOCK = """
from facecli.config import OUTPUT_NAME
from facecli.store.disk.lock import WriterLock
acquire = WriterLock.acquire
def noted(self, seconds):
    Path("waiting").touch()
    acquire(self, seconds)
WriterLock.acquire = noted
"""
WALK = """
from facecli.photos.walk import Walk
walk = Walk.__iter__
def endless(self):
    yield from walk(self)
    wait_for_ever()
Walk.__iter__ = endless
"""
STATEMENT = """
from facecli.store.errors import explained
from facecli.store.writer import IndexWriter
def endless(self, wait_readers=0.0):
    Path("waiting").touch()
    with explained("catalogue"):
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        self._writing.connection.execute(endless).fetchone()
IndexWriter.finish = endless
"""
COMPUTING = """
import facecli.store.locate
import facecli.indexing.index_photos
facecli.store.locate.find_index = facecli.indexing.index_photos._ask_index = compute_for_ever
"""
PART = """
from facecli.whole_files import Part
fill, begin = Part.fill, Part.open
def half(pieces):
    yield next(iter(pieces))
    wait_for_ever()
def filled(self, pieces, mtime_ns=None):
    fill(self, half(pieces), mtime_ns)
def begun(self):
    begin(self).write(b"half")
    wait_for_ever()
Part.fill, Part.open = filled, begun
"""
EXIFTOOL = """#!/bin/sh
test "$1" = -overwrite_original || exit 0
for target; do :; done
echo half > "${target}_exiftool_tmp"
echo $$ > ../number
mv ../number waiting
exec sleep 1000
"""
END = """
from facecli.cli.main import main
main(sys.argv[1:])
"""


@contextmanager
def command(shell: Shell, patch: str, *arguments: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command with an endless operation in it, and wait until it is reached."""
    script = [sys.executable, "-c", BEGIN + patch + END, *map(str, arguments)]
    process = subprocess.Popen(
        script, cwd=shell.work, env=shell.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        deadline = time.monotonic() + 60
        while not (shell.work / "waiting").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()
        assert (shell.work / "waiting").exists()
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_taken(process: subprocess.Popen[bytes]) -> None:
    """Wait until no signal is on its way: a second one of the same number would be one with it."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None and any(int(mask, 16) for mask in PENDING.findall(status.read_text("utf-8"))):
        time.sleep(0.01)


@pytest.mark.parametrize("number", [SIGINT, SIGTERM, SIGHUP])
@pytest.mark.parametrize(
    ("patch", "options"),
    [(LOCK, ("--wait", "600")), (WALK, ("--dry-run",)), (STATEMENT, ())],
    ids=["lock", "dry run", "statement"],
)
def test_one_signal_ends_a_run_that_has_nothing_in_flight(
    shell: Shell, indexed_album: Path, patch: str, options: tuple[str, ...], number: signal.Signals
) -> None:
    lock = WriterLock(shell.work / ".facecli")
    if patch == LOCK:
        lock.acquire(0)
    with command(shell, patch, "index", *options, indexed_album) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    if patch == LOCK:
        lock.release()
    assert process.returncode == 128 + number
    assert errors.decode().splitlines() == [
        "facecli: error: stopped early; finished photos are kept: run it again to continue"
    ]
    shell("check")
    assert json.loads(shell("index", "--json", indexed_album).text)["photos"]["unchanged"] == 4


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_one_signal_ends_a_walk_that_finds_nothing_more_and_keeps_what_was_found(
    shell: Shell, album: Path, number: signal.Signals
) -> None:
    with command(shell, WALK, "index", album) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "facecli: error: stopped early; " in errors.decode().splitlines()[-1]
    shell("check")
    before = json.loads(shell("info", "--json").text)["photos"]
    assert json.loads(shell("index", "--json", album).text)["photos"]["unchanged"] == before


@pytest.mark.parametrize(
    ("arguments", "signals"),
    [
        (("info",), (SIGINT, SIGINT)),
        (("remove", "album"), (SIGINT, SIGTERM)),
        (("search", "face:1"), (SIGINT, SIGINT)),
        (("index", "album"), (SIGTERM, SIGINT)),
        (("index", "album"), (SIGTERM, SIGTERM)),
    ],
)
@pytest.mark.usefixtures("album")
def test_two_signals_end_any_command_whatever_it_does(
    shell: Shell, arguments: tuple[str, ...], signals: tuple[signal.Signals, ...]
) -> None:
    with command(shell, COMPUTING, *arguments) as process:
        for number in signals:
            process.send_signal(number)
            wait_until_taken(process)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in [128 + number for number in signals] or process.returncode == -SIGTERM
    assert b"Traceback" not in errors


@pytest.mark.parametrize("number", [SIGINT, SIGHUP])
def test_a_signal_that_a_shell_has_a_command_ignore_stays_ignored(
    shell: Shell, indexed_album: Path, number: signal.Signals
) -> None:
    """Ctrl-C must not end `facecli index &` in a script, nor a closed terminal `nohup facecli index`."""
    patch = f"import signal\nsignal.signal({int(number)}, signal.SIG_IGN)\n" + LOCK
    lock = WriterLock(shell.work / ".facecli")
    lock.acquire(0)
    with command(shell, patch, "index", "--wait", "60", indexed_album) as process:
        for _ in range(2):
            process.send_signal(number)
            time.sleep(0.1)
        lock.release()
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.fixture
def named(shell: Shell, album_home: Path) -> Shell:
    """An index in which a person has a name."""
    shutil.copytree(album_home, shell.work, dirs_exist_ok=True)
    shell("people", "assign", "Carla", "face:1")
    return shell


def files_of(shell: Shell) -> set[str]:
    """All files outside of the index."""
    every = {str(path.relative_to(shell.work)) for path in shell.work.rglob("*") if path.is_file()}
    return {name for name in every if not name.startswith(".facecli/")}


@pytest.mark.parametrize(
    "arguments",
    [
        ("search", "face:1", "--html", "page.html", "--threshold", "none"),
        ("search", "face:1", "--copy-to", "copies", "--threshold", "none"),
        ("people", "--html", "page.html", "--all", "--min-photos", "1"),
        ("people", "export", "people.jsonl"),
        ("faces", "yao.jpg", "--crops", "crops"),
        ("export", "faces.npz"),
        ("export", "--xmp"),
    ],
    ids=" ".join,
)
def test_a_signal_leaves_no_part_of_a_file(named: Shell, arguments: tuple[str, ...]) -> None:
    before = files_of(named)
    with command(named, PART, *arguments) as process:
        assert len(files_of(named) - before - MARKS) == 2, "it waits in the middle of a file"
        process.send_signal(SIGTERM)
        assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 128 + SIGTERM
    assert files_of(named) - before <= MARKS | {"waiting"}


@pytest.mark.parametrize("number", [SIGTERM, SIGHUP])
def test_a_signal_ends_exiftool_and_leaves_its_photo_as_it_was(named: Shell, number: signal.Signals) -> None:
    before = files_of(named)
    folder = named.work.parent / "bin"
    folder.mkdir()
    (folder / "exiftool").write_text(EXIFTOOL)
    (folder / "exiftool").chmod(0o755)
    named.environment["PATH"] = f"{folder}:{named.environment['PATH']}"
    with command(named, "", "export", "--xmp", "--into-photos") as process:
        assert any(name.endswith("_exiftool_tmp") for name in files_of(named))
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert files_of(named) == before | {"waiting"}
    child = Path("/proc", (named.work / "waiting").read_text().strip(), "cmdline")
    assert not child.exists() or not child.read_bytes(), "it is gone, or waits for its parent to hear of it"


def test_a_terminal_that_says_twice_that_it_closes_is_heard_once(shell: Shell, indexed_album: Path) -> None:
    """The second signal comes while the run ends."""
    twice = """
from facecli.errors import Interrupted
begin = Interrupted.__init__
def noted(self, number, what):
    begin(self, number, what)
    os.kill(os.getpid(), signal.SIGHUP)
    time.sleep(0.2)
    print("it goes on", file=sys.stderr)
Interrupted.__init__ = noted
"""
    with command(shell, "import os, signal\n" + twice + WALK, "index", "--dry-run", indexed_album) as process:
        process.send_signal(SIGHUP)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + SIGHUP
    assert errors.decode().splitlines()[0] == "it goes on"
