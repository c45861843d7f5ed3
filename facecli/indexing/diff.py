"""What a run has to do: the files of the scan beside what the index knows, both in the order of their paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from typing import TypeAlias

from msgspec import Struct

from facecli.store.records import FileStat, KnownFile
from facecli.types import PhotoFile, Skipped

Scanned: TypeAlias = PhotoFile | Skipped


class Pair(Struct, frozen=True):
    """A file that the scan found, and what the index knows at its path."""

    found: Scanned
    known: KnownFile | None


class Missed(Struct, frozen=True):
    """A path that the index knows and the scan did not find."""

    path: str
    photo_id: int | None
    """None for a file that could not be read."""


class Action(Enum):
    """What is to be done about a pair."""

    LOOK = auto()
    """Read the file."""
    KEEP = auto()
    """Nothing: the file is as the index knows it."""
    KEEP_SKIPPED = auto()
    """Nothing: it could not be read, and nothing that was at fault has changed."""
    SKIP = auto()
    """The scan itself could not get at it."""


class Rules(Struct, frozen=True):
    """What decides between the steps."""

    force: bool
    retry_skipped: bool
    refusal_holds: Callable[[str], bool]
    """Whether the option or missing reader that refused a file would refuse it again."""

    def step(self, pair: Pair) -> Action:
        """The step for a pair."""
        found, known = pair.found, pair.known
        if isinstance(found, Skipped):
            return Action.SKIP
        if known is None:
            return Action.LOOK
        if known.skip is not None and found.looks_like(known.skip.file):
            return Action.KEEP_SKIPPED if self._stays_skipped(known.skip) else Action.LOOK
        if known.photo_id is None or self.force or not found.looks_like(known.file):
            return Action.LOOK
        return Action.KEEP

    def _stays_skipped(self, skip: Skipped) -> bool:
        return (
            skip.reason.lasts
            and not self.retry_skipped
            and (not skip.refused_by or self.refusal_holds(skip.refused_by))
        )


_BEYOND: FileStat = (b"", -1, -1, None, None, None)
"""Stands where the index knows no more."""


def pair_up(
    found: Iterable[Scanned], known: Iterable[FileStat], known_at: Callable[[str], KnownFile | None]
) -> Iterator[Pair | Missed | PhotoFile | None]:
    """Merge two sequences that ascend by the bytes of their paths.

    None for a file that is as the index knows it; the file itself where the index lacks its time of change and inode
    and knows nothing against it. What the index knows is looked up whole by `known_at` only where a file differs: of a
    million unchanged files no record is made.
    """
    rest = iter(known)
    path, size, mtime_ns, ctime_ns, inode, photo_id = next(rest, _BEYOND)
    for one in found:
        key = os.fsencode(one.path if isinstance(one, PhotoFile) else one.file.path)
        while path and path < key:
            yield Missed(os.fsdecode(path), photo_id)
            path, size, mtime_ns, ctime_ns, inode, photo_id = next(rest, _BEYOND)
        if path == key:
            differs, is_noted = True, True
            if (
                isinstance(one, PhotoFile) and one.mtime_ns == mtime_ns and one.size == size
            ):  # as PhotoFile.looks_like, without a record
                is_noted = ctime_ns is not None or one.ctime_ns is None
                differs = is_noted and one.ctime_ns is not None and (one.ctime_ns != ctime_ns or one.inode != inode)
            path, size, mtime_ns, ctime_ns, inode, photo_id = next(rest, _BEYOND)
            if not differs:
                yield None if is_noted or isinstance(one, Skipped) else one
                continue
        yield Pair(one, known_at(os.fsdecode(key)))
    while path:
        yield Missed(os.fsdecode(path), photo_id)
        path, size, mtime_ns, ctime_ns, inode, photo_id = next(rest, _BEYOND)


def path_order(root: str) -> bytes:
    """The key by which roots are sorted, so that the paths below one come before those below the next."""
    return os.fsencode(root).rstrip(b"/") + b"/"
