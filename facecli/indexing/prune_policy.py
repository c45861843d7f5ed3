"""Decide which photos are certainly gone or excluded; photos that are only unreachable now are kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct

from facecli.directories import is_gone
from facecli.indexing.diff import path_order
from facecli.store.records import FileStat
from facecli.types import PhotoFile, Skipped

MOST_SHARE = 0.5
LEAST_COUNT = 100
"""If more than this share of a root's photos, and at least this many, are gone, none are dropped without --prune."""


class Census:
    """The photos that a run found and missed below each of its roots."""

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = outermost(roots)
        """Absolute directories in the order of the paths below them; none lies below another, so nothing counts
        twice."""
        self.unlisted: list[str] = []
        """Directories that could not be listed."""
        self.unmounted: list[str] = []
        """Directories below a root that were mount points when they were indexed and are not now."""
        self.hidden: list[str] = []
        """Roots whose disk is not mounted, so that most of their photos are unreachable."""
        self.excludes: Callable[[str], bool] = lambda _: False
        """Whether patterns exclude a path below a root."""
        self.known: Counter[str] = Counter()
        """The number of photos in the index below each root."""
        self.seen: Counter[str] = Counter()
        """The number of files that the scan found below each root."""
        self.missed: list[tuple[str, int | None]] = []
        """Paths in the index that the scan did not find, each with the id of its photo, or None for a skipped file."""
        self._current = self.roots[0] if self.roots else ""

    def root_of(self, path: str) -> str | None:
        """The root above a path, or None; fast for paths in ascending order."""
        if not (self._current and is_below(path, self._current)):
            found = next((root for root in self.roots if is_below(path, root)), None)
            if found is None:
                return None
            self._current = found
        return self._current

    def watch(self, found: Iterable[PhotoFile | Skipped]) -> Iterator[PhotoFile | Skipped]:
        """Pass on the files of the scan and count them by root."""
        current, before, seen = None, "", 0
        for one in found:
            path = one.path if isinstance(one, PhotoFile) else one.file.path
            if current is None or not path.startswith(before):
                if current is not None:
                    self.seen[current] += seen
                current, seen = self.root_of(path), 0
                before = current.rstrip("/") + "/" if current is not None else ""
            seen += 1
            yield one
        if current is not None:
            self.seen[current] += seen

    def recall(self, root: str, known: Iterable[FileStat]) -> Iterator[FileStat]:
        """Pass on the entries of the index below a root and count its photos."""
        count = 0
        for row in known:
            count += row[-1] is not None
            yield row
        self.known[root] += count

    def miss(self, path: str, photo_id: int | None) -> None:
        """Record a path in the index that the scan did not find."""
        self.missed.append((path, photo_id))

    def is_closed(self, path: str) -> bool:
        """Whether a path lies in a place that is unreachable now."""
        return any(is_below(path, place) for place in (*self.unlisted, *self.unmounted, *self.hidden))


class Pruning(Struct, frozen=True):
    """The decision on the missing photos of a census."""

    gone: list[int]
    """Ids of the photos that are gone or excluded."""
    gone_skips: list[str]
    """Paths of skipped files that are gone or excluded."""
    spared: dict[str, int]
    """Roots that would lose too many photos, each with the number of them."""
    emptied: list[str]
    """Roots without any files, although the index has photos below them."""
    excluded: Counter[str]
    """How many of the photos below each root are there, but excluded."""


def judge_pruning(census: Census, *, ask_nobody: bool) -> Pruning:
    """Decide which photos are gone or excluded; with `ask_nobody`, even if most photos of a root are."""
    bare = [root for root in census.roots if census.known[root] and not census.seen[root]]
    emptied: dict[str, None] = {}
    gone: dict[str, list[tuple[str, int | None]]] = {}
    excluded: Counter[str] = Counter()
    for path, photo_id in census.missed:
        root = census.root_of(path)
        is_closed = census.is_closed(path)
        if root is None or root in emptied or (is_closed and root not in bare):
            continue
        is_missing = is_gone(path)
        if is_missing and root in bare:
            emptied[root] = None
        elif not is_closed and (is_missing or census.excludes(path)):
            gone.setdefault(root, []).append((path, photo_id))
            excluded[root] += not is_missing and photo_id is not None
    gone = {root: entries for root, entries in gone.items() if root not in emptied}
    counts = {root: sum(i is not None for _, i in entries) for root, entries in gone.items()}
    spared = {
        r: n for r, n in counts.items() if not ask_nobody and n >= LEAST_COUNT and n > MOST_SHARE * census.known[r]
    }
    going = [entry for root, entries in gone.items() if root not in spared for entry in entries]
    return Pruning(
        [i for _, i in going if i is not None],
        [path for path, i in going if i is None],
        spared,
        list(emptied),
        Counter({root: count for root, count in excluded.items() if count and root not in emptied}),
    )


def outermost(directories: Iterable[str]) -> list[str]:
    """The directories that lie below none of the others, in the order of the paths below them."""
    found: list[str] = []
    for directory in sorted(directories, key=path_order):  # subdirectories come right after their directory
        if not (found and (directory == found[-1] or is_below(directory, found[-1]))):
            found.append(directory)
    return found


def is_below(path: str, directory: str) -> bool:
    """Whether a path lies below a directory, by name only."""
    return path.startswith(directory if directory.endswith("/") else directory + "/")
