"""Decide which missing photos a run drops from the index, and explain why it keeps others."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from facecli.directories import is_gone
from facecli.indexing.prune_policy import Census, Pruning, is_below, judge_pruning
from facecli.photos.mounts import file_system_of, is_mount, mount_of
from facecli.store.reader import IndexReader
from facecli.wording import counted

Mounts: TypeAlias = Mapping[str, int | None]
"""Recorded mount points, each with the number of the file system that was mounted there; None if not recorded."""


def find_unmounted(recorded: Mounts, roots: Iterable[str]) -> list[str]:
    """The recorded mount points below the roots that are not mount points now."""
    roots = list(roots)
    return [mount for mount in recorded if any(is_below(mount, root) for root in roots) and not is_mount(mount)]


def find_hidden(store: IndexReader, roots: Iterable[str]) -> list[str]:
    """The roots whose disk is not mounted: their file system has changed, and most of their photos are missing.

    If most photos are present, they were copied here, or the number of the file system has changed, as it does for some
    disks every time they are plugged in.
    """
    recorded = store.mounts()
    away = [
        mount
        for mount, number in recorded.items()
        if any(is_at_or_below(root, mount) for root in roots) and not _is_there(mount, number)
    ]
    return [
        root
        for root in roots
        if any(is_at_or_below(root, mount) for mount in away) and _is_mostly_gone(store.photo_paths(root))
    ]


def _is_mostly_gone(paths: Iterable[str]) -> bool:
    gone = total = 0
    for path in paths:
        total += 1
        gone += is_gone(path)
    return 2 * gone > total


def _is_there(mount: str, file_system: int | None) -> bool:
    """Whether the recorded file system is mounted at its mount point now."""
    return is_mount(mount) and file_system in (None, file_system_of(mount))


def find_gone(census: Census, *, prune: bool | None) -> Pruning:
    """The photos that are certainly gone; `prune` as in IndexOptions."""
    return Pruning([], [], {}, [], Counter()) if prune is False else judge_pruning(census, ask_nobody=prune is True)


def explain(census: Census, verdict: Pruning) -> Iterator[str]:
    """Messages about missing photos that are kept, how to drop them, and about photos that are excluded now."""
    for root in verdict.emptied:
        yield (
            f"{root} contains none of its photos now; {counted(census.known[root], 'photo')} kept in the index: "
            f"{removal_hint(root)}"
        )
    for root, count in verdict.spared.items():
        what = "missing or excluded" if verdict.excluded[root] else "missing"
        yield (
            f"{count} photos below {root} are {what}, more than half of its photos, and are kept in the index; "
            "facecli index --prune drops them"
        )
    for root, count in verdict.excluded.items():
        if root not in verdict.spared:
            yield f"{counted(count, 'photo')} below {root} excluded now: out of the index, the files stay"
    for root in census.hidden:
        if root not in verdict.emptied:
            yield (
                f"the disk on which {root} was indexed is not mounted now; its photos in the index are kept: "
                f"{removal_hint(root)}"
            )
    for place in census.unmounted:
        yield (f"{place} was a mount point and is not one now; the photos in the index are kept: {removal_hint(place)}")


def removal_hint(root: str) -> str:
    """The part of a message with the command that drops the kept photos."""
    return f"facecli remove --root {shlex.quote(root)} drops them"


def mounts_to_remember(recorded: Mounts, seen: Iterable[str], roots: Iterable[str], census: Census) -> Mounts:
    """The mount points to record for later runs: those below `roots`, and the one that each root lies on.

    Earlier recorded ones are kept if they are still mounted, or if their photos are not reachable now.
    """
    away = [root for root in roots if root not in census.roots] + census.hidden
    kept = {
        m: n
        for m, n in recorded.items()
        if concerns(m, away) or m in census.unmounted or (concerns(m, roots) and is_mount(m))
    }
    now = {*seen, *(mount_of(root) for root in census.roots if root not in census.hidden)}
    # If another disk is mounted in place of a missing one, keep the number of the missing one.
    return {mount: file_system_of(mount) for mount in now} | {
        m: n for m, n in kept.items() if m not in now or (concerns(m, away) and n)
    }


def concerns(mount: str, roots: Iterable[str]) -> bool:
    """Whether a mount point lies below, at or above one of the roots."""
    return any(is_below(mount, root) or is_at_or_below(root, mount) for root in roots)


def has_left(root: str, recorded: Mounts) -> bool:
    """Whether a root is gone although its disk is mounted.

    That is so if its parent directory can be listed, and every file system that was mounted at or above the root when
    it was indexed is mounted there now. Version 0.1.0 did not record mount points, so the result is False for its roots
    until they are indexed again.
    """
    above = {mount: number for mount, number in recorded.items() if is_at_or_below(root, mount)}
    there = bool(above) and all(_is_there(mount, number) for mount, number in above.items())
    return there and is_gone(root) and _can_be_listed(os.path.dirname(root))


def _can_be_listed(directory: str) -> bool:
    try:
        os.scandir(directory).close()
    except OSError:
        return False
    return True


def is_at_or_below(path: str, directory: str) -> bool:
    """Whether a path equals a directory or lies below it, by name only."""
    return path == directory or is_below(path, directory)
