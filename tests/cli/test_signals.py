"""Ctrl-C and SIGTERM: one ends a command with nothing in progress at once; two end any command."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from facecli.store.disk.lock import WriterLock

if TYPE_CHECKING:
    from conftest import Shell

SIGINT, SIGTERM = signal.SIGINT, signal.SIGTERM
PENDING = re.compile(r"^S(?:ig|hd)Pnd:\t(\w+)$", re.MULTILINE)
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


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
@pytest.mark.parametrize(
    ("patch", "options"),
    [(LOCK, ("--wait", "600")), (WALK, ("--dry-run",)), (STATEMENT, ())],
    ids=["lock", "dry run", "statement"],
)
def test_one_signal_ends_a_run_that_has_nothing_in_flight(
    shell: Shell, album: Path, patch: str, options: tuple[str, ...], number: signal.Signals
) -> None:
    shell("index", "-q", album)
    lock = WriterLock(shell.work / ".facecli")
    if patch == LOCK:
        lock.acquire(0)
    with command(shell, patch, "index", *options, album) as process:
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    if patch == LOCK:
        lock.release()
    assert process.returncode == 128 + number
    assert errors.decode().splitlines() == [
        "facecli: error: stopped early; finished photos are kept: run it again to continue"
    ]
    shell("check")
    assert json.loads(shell("index", "--json", album).text)["photos"]["unchanged"] == 4


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


def test_a_signal_that_a_shell_has_a_command_ignore_stays_ignored(shell: Shell, album: Path) -> None:
    """As for `facecli index &` in a script: Ctrl-C for the foreground command must not end it."""
    patch = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + LOCK
    shell("index", "-q", album)
    lock = WriterLock(shell.work / ".facecli")
    lock.acquire(0)
    with command(shell, patch, "index", "--wait", "60", album) as process:
        for _ in range(2):
            process.send_signal(SIGINT)
            time.sleep(0.1)
        lock.release()
        process.communicate(timeout=60)
    assert process.returncode == 0
