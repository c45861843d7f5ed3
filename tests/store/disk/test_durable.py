"""What the catalogue names is on the disk before it names it; syncs are seen at the system call."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from synthetic import KIND, OTHER_KIND, make_photos, write

from facecli.store.records import Batch
from facecli.store.writer import open_writer

TELLING = ("after write ", "sync ", "after rename ", "before commit ")


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are synced, in order; the steps of a writer may be added."""
    found: list[str] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        found.append(f"sync {os.path.basename(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    return found


def telling(events: list[str]) -> list[str]:
    found = [event for event in events if event.startswith(TELLING)]
    events.clear()
    return found


def whole(epoch: int, commit: str, *, codes: bool = True) -> list[str]:
    """The events of a new vector file and the transaction that names it."""
    return [
        *(["after write codes"] if codes else []),
        f"sync vectors-{epoch}.faiss.new",
        "after write header",
        f"sync vectors-{epoch}.faiss.new",
        "after rename vectors",
        "sync .facecli",
        f"before commit {commit}",
    ]


def test_files_are_on_the_disk_before_a_transaction_names_them(tmp_path: Path, events: list[str]) -> None:
    photos = make_photos(tmp_path, 8, 2)
    with open_writer(tmp_path / ".facecli", KIND, create=True, at=events.append) as writer:
        assert telling(events) == [*whole(1, "creation", codes=False), "after rename catalogue", "sync .facecli"]
        writer.commit(Batch(photos=tuple(photos)))
        synced = "sync vectors-1.faiss"
        assert telling(events) == ["after write codes", synced, "after write header", synced, "before commit batch"]
        writer.prune([1, 2, 3])
        writer.finish()
        assert telling(events)[1:8] == whole(2, "rebuild")
        writer.begin_migration(OTHER_KIND)
        assert telling(events) == whole(3, "second set", codes=False)


def test_erased_slots_are_on_the_disk_before_the_erasure_is_recorded(tmp_path: Path, events: list[str]) -> None:
    write(tmp_path / ".facecli", make_photos(tmp_path, 20, 2))
    with open_writer(tmp_path / ".facecli", at=events.append) as writer:
        writer.prune([1])
        events.clear()
        assert writer.finish().erased
    assert telling(events)[:3] == ["after write zeros", "sync vectors-1.faiss", "before commit erased"]


def test_every_commit_reaches_the_disk_and_what_is_freed_is_zeroed(tmp_path: Path) -> None:
    write(tmp_path / ".facecli", make_photos(tmp_path, 2))
    with open_writer(tmp_path / ".facecli") as writer:
        settings = {
            name: writer._writing.connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("synchronous", "secure_delete", "journal_mode")
        }
    assert settings == {"synchronous": 2, "secure_delete": 1, "journal_mode": "wal"}
