"""The journal of contents that were in flight when a run died."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from facecli.store.disk import crash_journal as journal_module
from facecli.store.disk.crash_journal import JOURNAL, CrashJournal


def token(digest: bytes) -> bytes:
    return hashlib.blake2b(digest, key=b"a key of the index", digest_size=16).digest()


def die_with(directory: Path, *digests: bytes) -> None:
    """Let a child process die with contents in flight."""
    child = os.fork()
    if not child:
        journal = CrashJournal(directory, token)
        entered = [journal.in_flight(digest) for digest in digests]
        for one in entered:
            one.__enter__()
        os._exit(9)
    os.waitpid(child, 0)


def deaths(directory: Path, digest: bytes) -> int:
    journal = CrashJournal(directory, token)
    with journal.in_flight(digest) as count:
        pass
    journal.close()
    return count


def test_each_death_counts_until_the_content_passes(tmp_path: Path) -> None:
    die_with(tmp_path, b"a" * 16, b"b" * 16)
    die_with(tmp_path, b"a" * 16, b"c" * 16)
    assert (tmp_path / JOURNAL).exists()
    assert [deaths(tmp_path, digit * 16) for digit in (b"a", b"b", b"c", b"d")] == [2, 1, 1, 0]
    assert [deaths(tmp_path, digit * 16) for digit in (b"a", b"b", b"c", b"d")] == [0, 0, 0, 0]


def test_a_run_that_ends_well_leaves_nothing(tmp_path: Path) -> None:
    journal = CrashJournal(tmp_path, token)
    with ThreadPoolExecutor(8) as crowd:

        def work(number: int) -> int:
            with journal.in_flight(number.to_bytes(16, "big")) as count:
                return count

        assert set(crowd.map(work, range(3000))) == {0}
    journal.close()
    assert not (tmp_path / JOURNAL).exists()


def test_the_file_is_private_small_and_names_no_content(tmp_path: Path) -> None:
    die_with(tmp_path, b"secret-digest-16")
    file = tmp_path / JOURNAL
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert b"secret" not in file.read_bytes()
    assert file.stat().st_size < 20_000


def test_a_torn_or_foreign_file_is_no_harm(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).write_bytes(os.urandom(1000))
    assert deaths(tmp_path, b"a" * 16) == 0


def test_more_suspects_than_the_file_holds_push_out_the_oldest(tmp_path: Path) -> None:
    for start in range(0, 1500, 500):
        die_with(tmp_path, *(number.to_bytes(16, "big") for number in range(start, start + 500)))
    assert deaths(tmp_path, (1400).to_bytes(16, "big")) == 1
    assert deaths(tmp_path, (3).to_bytes(16, "big")) == 0


class FaultyDisk:
    """System calls of which one fails, as on a failing disk."""

    def __init__(self, call: str) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return self._fail if name == self._call else getattr(os, name)

    def _fail(self, *_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("call", ["open", "fchmod", "pread", "pwrite", "close"])
def test_trouble_with_the_file_is_told_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    monkeypatch.setattr(journal_module, "os", FaultyDisk(call))
    journal = CrashJournal(tmp_path, token)
    with journal.in_flight(b"a" * 16) as first, journal.in_flight(b"b" * 16) as second:
        assert (first, second) == (0, 0)
    with pytest.raises(ValueError, match="a decoder"), journal.in_flight(b"a" * 16):
        raise ValueError("a decoder")
    journal.close()
    assert "Input/output error" in journal.trouble
    assert str(tmp_path / JOURNAL) in journal.trouble


def test_more_in_flight_than_the_file_holds_go_without_a_record(tmp_path: Path) -> None:
    journal = CrashJournal(tmp_path, token)
    with ExitStack() as stack:
        assert {stack.enter_context(journal.in_flight(number.to_bytes(16, "big"))) for number in range(1100)} == {0}
    assert (tmp_path / JOURNAL).stat().st_size <= 1024 * 17
    journal.close()
    assert not (tmp_path / JOURNAL).exists()
