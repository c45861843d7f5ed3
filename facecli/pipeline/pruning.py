"""Which photos are gone for certain; what only cannot be seen just now stays."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_SHARE = 0.5
LEAST_COUNT = 100
"""If more than this share of a root's photos would go, and at least this many, none go unless it was asked for."""


@dataclass
class Census:
    """What a run saw and missed below each of its roots."""

    roots: Sequence[str]
    """Directories, absolute, none below another."""
    unlisted: list[str] = field(default_factory=list)
    """Directories that could not be listed."""
    unmounted: list[str] = field(default_factory=list)
    """Directories that were mount points when they were indexed and are not now."""
    known: Counter[str] = field(default_factory=Counter)
    seen: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, int]] = field(default_factory=list)
    """Path and id of each photo that the index knows and the scan did not see."""

    def root_of(self, path: str) -> str | None:
        """The root that a path lies below."""
        return next((root for root in self.roots if is_below(path, root)), None)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a census comes to."""

    gone: list[int]
    """Ids of the photos that are gone."""
    spared: dict[str, int]
    """Roots of which too much would go, each with how many photos."""
    emptied: list[str]
    """Roots that are there but hold nothing, though the index knows photos below them."""


def judge(census: Census, *, ask_nobody: bool) -> Verdict:
    """Tell what is gone. `ask_nobody`: also where most of a root would go."""
    emptied = [root for root in census.roots if census.known[root] and not census.seen[root]]
    closed = [*census.unlisted, *census.unmounted, *emptied]
    gone: dict[str, list[int]] = {}
    for path, photo_id in census.missed:
        root = census.root_of(path)
        if root is not None and not any(is_below(path, place) for place in closed) and is_gone(path):
            gone.setdefault(root, []).append(photo_id)
    spared = {
        root: len(ids) for root, ids in gone.items() if not ask_nobody and len(ids) >= LEAST_COUNT and len(ids) > MOST_SHARE * census.known[root]
    }
    return Verdict([i for root, ids in gone.items() if root not in spared for i in ids], spared, emptied)


def is_gone(path: str) -> bool:
    """Whether nothing stands under the path any more; trouble of another kind is no proof."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
    return False


def is_below(path: str, directory: str) -> bool:
    """Whether a path lies below a directory, by its name."""
    return path.startswith(directory if directory.endswith("/") else directory + "/")
