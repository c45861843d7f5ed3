"""Tests of the comparison of files with the index, and of the action for each pair."""

from __future__ import annotations

import os
import random

import pytest

from facecli.indexing.diff import Action, Missed, Pair, Rules, pair_up, path_order
from facecli.store.records import KnownFile
from facecli.types import PhotoFile, Skipped, SkipReason

FILE = PhotoFile("/a/b.jpg", 10, 20)


def known_at(path: str) -> KnownFile:
    return KnownFile(7, PhotoFile(path, 0, 0), b"d" * 16)


def test_every_path_comes_once_and_in_its_place() -> None:
    dice = random.Random(4)
    for _ in range(200):
        paths = sorted(
            {os.fsdecode(bytes([47, *dice.choices([46, 47, 65, 200], k=4)])) for _ in range(12)}, key=os.fsencode
        )
        found = [PhotoFile(path, 1, dice.choice([1, 2])) for path in paths if dice.random() < 0.6]
        known = [(os.fsencode(path), 1, 1, None, None, 9) for path in paths if dice.random() < 0.6]
        kept = {os.fsencode(f.path) for f in found if f.mtime_ns == 1} & {row[0] for row in known}
        entries = list(pair_up(found, known, lambda path: KnownFile(1, PhotoFile(path, 0, 0), b"")))
        assert sum(entry is None for entry in entries) == len(kept)
        looked = [os.fsencode(e.found.path) for e in entries if isinstance(e, Pair) and isinstance(e.found, PhotoFile)]
        assert looked == [os.fsencode(f.path) for f in found if os.fsencode(f.path) not in kept]
        missed = [os.fsencode(e.path) for e in entries if isinstance(e, Missed)]
        assert missed == [row[0] for row in known if row[0] not in {os.fsencode(f.path) for f in found}]


def test_a_file_outside_of_the_known_range_is_looked_up() -> None:
    (entry,) = pair_up([FILE], [], known_at)
    assert isinstance(entry, Pair)
    assert entry.known == known_at(FILE.path)


def test_a_skipped_find_never_counts_as_unchanged() -> None:
    skipped = Skipped(FILE, SkipReason.VANISHED, "gone")
    (entry,) = pair_up([skipped], [(b"/a/b.jpg", 10, 20, None, None, 7)], known_at)
    assert entry == Pair(skipped, known_at(FILE.path))


@pytest.mark.parametrize(
    ("change", "recorded", "entry"),
    [
        ((30, 40), (30, 40), None),
        ((31, 40), (30, 40), Pair),
        ((30, 41), (30, 40), Pair),
        ((None, None), (30, 40), None),
        ((30, 40), (None, None), PhotoFile),
        ((None, None), (None, None), None),
    ],
)
def test_time_of_change_and_inode_tell_a_file_that_was_replaced(
    change: tuple[int | None, ...], recorded: tuple[int | None, ...], entry: type | None
) -> None:
    found, before = PhotoFile("/a/b.jpg", 10, 20, *change), PhotoFile("/a/b.jpg", 10, 20, *recorded)
    (got,) = pair_up([found], [(b"/a/b.jpg", 10, 20, *recorded, 7)], known_at)  # type: ignore[list-item]
    assert type(got) is (entry or type(None))
    assert found.looks_like(before) == (entry is not Pair)
    rules = Rules(force=False, retry_skipped=False, refusal_holds=lambda _: True)
    assert rules.step(Pair(found, KnownFile(1, before, b"d"))) is (Action.LOOK if entry is Pair else Action.KEEP)
    skip = Skipped(before, SkipReason.TRUNCATED, "…")
    assert rules.step(Pair(found, KnownFile(None, before, b"", skip))) is (
        Action.LOOK if entry is Pair else Action.KEEP_SKIPPED
    )


SKIP = Skipped(FILE, SkipReason.TOO_LARGE, "…", refused_by="max-pixels=5")
BROKEN = Skipped(FILE, SkipReason.TRUNCATED, "…")
BUSY = Skipped(FILE, SkipReason.PERMISSION, "…")


@pytest.mark.parametrize(
    ("known", "changes", "step"),
    [
        (None, {}, Action.LOOK),
        (KnownFile(1, FILE, b"d"), {}, Action.KEEP),
        (KnownFile(1, FILE, b"d"), {"force": True}, Action.LOOK),
        (KnownFile(1, PhotoFile("/a/b.jpg", 10, 21), b"d"), {}, Action.LOOK),
        (KnownFile(1, PhotoFile("/a/b.jpg", 11, 20), b"d"), {}, Action.LOOK),
        (KnownFile(None, FILE, b"", BROKEN), {}, Action.KEEP_SKIPPED),
        (KnownFile(3, FILE, b"d", BROKEN), {}, Action.KEEP_SKIPPED),
        (KnownFile(None, FILE, b"", BROKEN), {"force": True}, Action.KEEP_SKIPPED),
        (KnownFile(None, FILE, b"", BROKEN), {"retry_skipped": True}, Action.LOOK),
        (
            KnownFile(
                None, PhotoFile("/a/b.jpg", 9, 9), b"", Skipped(PhotoFile("/a/b.jpg", 9, 9), SkipReason.TRUNCATED, "…")
            ),
            {},
            Action.LOOK,
        ),
        (KnownFile(None, FILE, b"", BUSY), {}, Action.LOOK),
        (KnownFile(None, FILE, b"", SKIP), {}, Action.LOOK),
        (KnownFile(None, FILE, b"", SKIP), {"refusal_holds": lambda by: by == "max-pixels=5"}, Action.KEEP_SKIPPED),
    ],
)
def test_what_follows_from_a_pair(known: KnownFile | None, changes: dict[str, object], step: Action) -> None:
    rules = Rules(**({"force": False, "retry_skipped": False, "refusal_holds": lambda _: False} | changes))  # type: ignore[arg-type]
    assert rules.step(Pair(FILE, known)) is step


def test_roots_are_sorted_as_the_paths_below_them() -> None:
    assert sorted(["/a-b", "/a", "/", "/a/c"], key=path_order) == ["/", "/a-b", "/a", "/a/c"]
