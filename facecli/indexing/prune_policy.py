"""Which photos are gone for certain; what only cannot be seen just now stays."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from facecli.indexing.diff import path_order
from facecli.store.records import FileStat
from facecli.types import PhotoFile, Skipped

MOST_SHARE = 0.5
LEAST_COUNT = 100
"""If more than this share of a root's photos would go, and at least this many, none go unless it was asked for."""


class Census:
    """What a run saw and missed below each of its roots."""

    def __init__(self, roots: Sequence[str]) -> None:
        self.roots = outermost(roots)
        """Directories, absolute, in the order of the paths below them; none within another, where everything would
        count twice."""
        self.unlisted: list[str] = []
        """Directories that could not be listed."""
        self.unmounted: list[str] = []
        """Directories below a root that were mount points when they were indexed and are not now."""
        self.hidden: list[str] = []
        """Roots whose disk is not there, so that most of their photos are out of sight."""
        self.known: Counter[str] = Counter()
        """How many photos the index knows below each root."""
        self.seen: Counter[str] = Counter()
        """How many files the scan saw below each root."""
        self.missed: list[tuple[str, int | None]] = []
        """Each path that the index knows and the scan did not see, with the id of its photo; None for a skipped
        file."""
        self._current = self.roots[0] if self.roots else ""

    def root_of(self, path: str) -> str | None:
        """The root that a path lies below; quick for paths that come in order."""
        if not (self._current and is_below(path, self._current)):
            found = next((root for root in self.roots if is_below(path, root)), None)
            if found is None:
                return None
            self._current = found
        return self._current

    def watch(self, found: Iterable[PhotoFile | Skipped]) -> Iterator[PhotoFile | Skipped]:
        """Hand on what the scan finds, and count it below its root."""
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
        """Hand on what the index knows below a root, and count its photos."""
        count = 0
        for row in known:
            count += row[-1] is not None
            yield row
        self.known[root] += count

    def miss(self, path: str, photo_id: int | None) -> None:
        """Note a path that the index knows and the scan did not find."""
        self.missed.append((path, photo_id))

    def is_closed(self, path: str) -> bool:
        """Whether a path lies where nothing can be told of it just now."""
        return any(is_below(path, place) for place in (*self.unlisted, *self.unmounted, *self.hidden))


class Pruning(Struct, frozen=True):
    """What a census comes to."""

    gone: list[int]
    """Ids of the photos that are gone."""
    gone_skips: list[str]
    """Paths of skipped files that are gone."""
    spared: dict[str, int]
    """Roots of which too much would go, each with how many photos."""
    emptied: list[str]
    """Roots that are there but hold nothing, though the index knows photos below them."""


def judge_pruning(census: Census, *, ask_nobody: bool) -> Pruning:
    """Tell what is gone. `ask_nobody`: also where most of a root would go."""
    emptied = [root for root in census.roots if census.known[root] and not census.seen[root]]
    gone: dict[str, list[tuple[str, int | None]]] = {}
    for path, photo_id in census.missed:
        root = census.root_of(path)
        if root is not None and root not in emptied and not census.is_closed(path) and is_gone(path):
            gone.setdefault(root, []).append((path, photo_id))
    counts = {root: sum(i is not None for _, i in entries) for root, entries in gone.items()}
    spared = {
        r: n for r, n in counts.items() if not ask_nobody and n >= LEAST_COUNT and n > MOST_SHARE * census.known[r]
    }
    going = [entry for root, entries in gone.items() if root not in spared for entry in entries]
    return Pruning([i for _, i in going if i is not None], [path for path, i in going if i is None], spared, emptied)


def is_gone(path: str) -> bool:
    """Whether nothing stands under the path any more; trouble of another kind is no proof."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def outermost(directories: Iterable[str]) -> list[str]:
    """Those of some directories that lie below none of the others, in the order of the paths below them."""
    found: list[str] = []
    for directory in sorted(directories, key=path_order):  # what lies below a directory comes right after it
        if not (found and (directory == found[-1] or is_below(directory, found[-1]))):
            found.append(directory)
    return found


def is_below(path: str, directory: str) -> bool:
    """Whether a path lies below a directory, by its name."""
    return path.startswith(directory if directory.endswith("/") else directory + "/")
