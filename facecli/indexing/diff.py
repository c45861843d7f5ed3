"""Compare the files of a scan with those in the index, both in the order of their paths."""

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
    """A file found by the scan, and the entry of the index for its path."""

    found: Scanned
    known: KnownFile | None


class Missed(Struct, frozen=True):
    """A path in the index that the scan did not find."""

    path: str
    photo_id: int | None
    """None for a file that could not be read."""


class Action(Enum):
    """The action for a pair."""

    LOOK = auto()
    """Read the file."""
    KEEP = auto()
    """Nothing to do: the file is unchanged."""
    KEEP_SKIPPED = auto()
    """Nothing to do: it could not be read before, and the cause has not changed."""
    SKIP = auto()
    """Skip: the scan could not access the file."""


class Rules(Struct, frozen=True):
    """The rules that decide the action for a pair."""

    force: bool
    retry_skipped: bool
    refusal_holds: Callable[[str], bool]
    """Whether the option or missing reader that refused a file would refuse it again."""

    def step(self, pair: Pair) -> Action:
        """The action for a pair."""
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
"""Marks the end of the entries of the index."""


def pair_up(
    found: Iterable[Scanned], known: Iterable[FileStat], known_at: Callable[[str], KnownFile | None]
) -> Iterator[Pair | Missed | PhotoFile | None]:
    """Merge two sequences that ascend by the bytes of their paths.

    Yields None for an unchanged file, and the file itself if it is unchanged but its ctime and inode are not in the
    index. The full entry of the index is looked up with `known_at` only if a file differs, so that a million unchanged
    files create no records.
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
            ):  # same as PhotoFile.looks_like, without a record
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
    """The sort key of roots: the paths below one root come before those below the next."""
    return os.fsencode(root).rstrip(b"/") + b"/"
