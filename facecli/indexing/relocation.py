"""Detect roots that were moved: their photos keep their ids."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain as joined

from msgspec import Struct, field

from facecli.directories import is_gone
from facecli.indexing.departures import Mounts, has_left, is_at_or_below, removal_hint
from facecli.indexing.prune_policy import Census, is_below
from facecli.reporting import Reporter
from facecli.store.reader import IndexReader
from facecli.store.records import Batch, StoredPhoto
from facecli.store.writer import IndexWriter
from facecli.types import IndexReport
from facecli.wording import counted

BATCH = 1000
"""The number of photos moved by one commit."""
PAIR = 2
"""The number of photos of one content if a photo has moved: the old and the new one."""
NAMED = 20
"""The most photos not found in the new place that are listed one by one."""


class Relocation(Struct):
    """A missing root and its photos that a run found elsewhere."""

    root: str
    total: int = 0
    """The number of photos in the index below it."""
    old: array[int] = field(default_factory=lambda: array("q"))
    """The ids of the photos that were found."""
    new: array[int] = field(default_factory=lambda: array("q"))
    """Their new ids in the new place."""
    left: list[str] = field(default_factory=list)
    """The paths of the first photos that were not found."""

    @property
    def has_moved(self) -> bool:
        """Whether enough photos were found elsewhere for the root to count as moved."""
        return is_enough(len(self.old), self.total)


def is_enough(found: int, total: int) -> bool:
    """Whether enough photos of a root, at least half, were found elsewhere for it to count as moved."""
    return 2 * found >= total > 0


def tell_moves(root: str, found: int, total: int, reporter: Reporter, *, left: bool = True) -> None:
    """Report a missing root with photos found elsewhere; `left` is the result of `has_left`."""
    if left and is_enough(found, total):
        reporter.warn(
            f"{root} has moved: {found} of its {counted(total, 'photo')} found in the new place, with their faces"
        )
    elif found:
        why = "too few to count as a move" if left else "but its disk may be away"
        said = f"{root} is missing; {found} of its {counted(total, 'photo')} found elsewhere, {why}"
        reporter.warn(f"{said}; both are kept; if it is gone for good, {removal_hint(root)}")


def departed_roots(roots: Iterable[str], mounts: Mounts, census: Census) -> list[str]:
    """The missing roots that are not at or below a directory of this run."""
    return [root for root in not_visited(roots, census) if has_left(root, mounts)]


def not_visited(roots: Iterable[str], census: Census) -> list[str]:
    """The roots that are not at or below a directory of this run."""
    return [root for root in roots if not any(is_at_or_below(root, here) for here in census.roots)]


class Relocations:
    """Searches the photos found by a run for those of missing roots, at the end of the run.

    A photo counts as found elsewhere only if it was added by this run, or lies below a root added by it: a copy that
    was in the index before is not the new place of a photo. During the run such photos are indexed as new ones, so that
    an interrupted run loses nothing.
    """

    def __init__(self, store: IndexWriter, census: Census, report: IndexReport, *, migrates: bool) -> None:
        self._store, self._census, self._report, self._migrates = store, census, report, migrates
        self._roots = store.roots()
        self._first = store.last_photo_id() + 1
        self._moved: set[int] = set()
        """Ids of photos already matched to a root; no other root may match them."""

    def settle(self, reporter: Reporter, *, force: bool) -> list[str]:
        """Move the photos of moved roots and report them; returns the old paths of those roots."""
        moved: list[str] = []
        for root in filter(self._may_have_come, not_visited(self._roots, self._census)):
            left = has_left(root, self._store.mounts())
            if not left and os.path.isdir(root):
                continue
            found = self._look_for(root, self._unmigrated(root) if self._migrates else ())
            if left and found.has_moved:
                self._move(found, force=force)
                moved.append(root)
            tell_moves(root, len(found.old), found.total, reporter, left=left)
            if root in moved:
                _name_left(found, reporter)
        self._report.missing_roots = [root for root in self._report.missing_roots if root not in moved]
        return moved

    def _may_have_come(self, root: str) -> bool:
        """Whether this run can have found photos of a root.

        The root itself is not accessed, since that may take long if its disk hangs.
        """
        if self._migrates or not all(here in self._roots for here in self._census.roots):
            return True
        return self._store.shares_content(root, self._first)

    def _unmigrated(self, root: str) -> Iterator[StoredPhoto]:
        return (photo for photo in self._store.unmigrated() if is_below(photo.file.path, root))

    def _look_for(self, root: str, beside: Iterable[StoredPhoto]) -> Relocation:
        """Pair each photo below a root with one photo of the same content that the run found elsewhere."""
        found, arrivals = Relocation(root), _Arrivals(self._store, self._census.roots, self._is_new)
        for photo in joined(self._store.photos(root), beside):
            if not is_gone(photo.file.path):
                return Relocation(root)  # the root exists again
            found.total += 1
            arrival = arrivals.take(photo.digest, photo.file.path[len(root) :])
            if arrival is not None:
                found.old.append(photo.photo_id)
                found.new.append(arrival)
            elif len(found.left) < NAMED:
                found.left.append(photo.file.path)
        return found

    def _is_new(self, path: str, photo_id: int) -> bool:
        if self._census.root_of(path) is None or photo_id in self._moved:
            return False
        came = photo_id >= self._first and not self._migrates  # in a migration all ids are new
        return came or not any(is_below(path, root) for root in self._roots)

    def _move(self, found: Relocation, *, force: bool) -> None:
        """Give the new places to the old ids; in a migration, where all ids are new, only drop the old places."""
        self._moved.update(found.new if self._migrates else found.old)
        photos = self._report.photos
        came = sum(photo_id >= self._first for photo_id in found.new)
        photos.new -= came
        photos.moved += len(found.new)
        if force:
            photos.changed -= len(found.new) - came
        else:
            photos.unchanged -= len(found.new) - came
        if self._migrates:
            self._report.faces.removed += self._store.prune(list(found.old), self._skips(found.root))
            return
        for start in range(0, len(found.old), BATCH):
            self._move_some(found.old[start : start + BATCH], found.new[start : start + BATCH], force=force)
        self._store.prune([], self._skips(found.root))

    def _move_some(self, old: array[int], new: array[int], *, force: bool) -> None:
        moves, looked_at = [], []
        for old_id, new_id in zip(old, new, strict=True):
            photo = self._store.photo(new_id)
            known = self._store.at(photo.file.path) if photo is not None else None
            if photo is None or known is None:
                continue
            moves.append((old_id, known.file))
            if force:
                looked_at.append(self._store.load(new_id, known.file))
            if new_id >= self._first:
                self._report.faces.added -= photo.faces
            else:
                self._report.faces.removed += photo.faces
        self._store.commit(Batch(moves=tuple(moves)))
        if looked_at:
            self._store.commit(Batch(photos=tuple(looked_at)))

    def _skips(self, root: str) -> list[str]:
        return [skip.file.path for skip in self._store.skips() if is_below(skip.file.path, root)]


class _Arrivals:
    """The photos found by a run, by content; each can be taken once."""

    def __init__(self, store: IndexReader, places: Sequence[str], is_new: Callable[[str, int], bool]) -> None:
        self._store, self._places, self._is_new = store, places, is_new
        self._taken: set[int] = set()
        self._copies: dict[bytes, dict[str, int]] = {}
        """The remaining copies of contents with many copies, which are looked up only once."""

    def take(self, digest: bytes, inner: str) -> int | None:
        """The id of a photo with this content, preferably one whose path ends in `inner` below a place."""
        candidates = self._copies[digest] if digest in self._copies else self._look_up(digest)
        if not candidates:
            return None
        path = next((place + inner for place in self._places if place + inner in candidates), next(iter(candidates)))
        photo_id = candidates.pop(path)
        self._taken.add(photo_id)
        return photo_id

    def _look_up(self, digest: bytes) -> dict[str, int]:
        rows = [(known.file.path, known.photo_id) for known in self._store.with_digest(digest)]
        found = {
            path: number
            for path, number in rows
            if number is not None and number not in self._taken and self._is_new(path, number)
        }
        if len(rows) > PAIR:
            self._copies[digest] = found
        return found


def _name_left(found: Relocation, reporter: Reporter) -> None:
    """List the photos that were not found in the new place."""
    for path in found.left:
        reporter.warn(f"not found in the new place, kept in the index: {path}")
    count = found.total - len(found.old)
    if count:
        more = (
            f"{counted(count - len(found.left), 'more such photo')}: facecli info --photos; "
            if count > len(found.left)
            else ""
        )
        reporter.warn(f"{more}{removal_hint(found.root)}")
