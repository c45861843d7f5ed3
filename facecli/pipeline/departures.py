"""What leaves an index with a run, and in words why other photos that are not there stay."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator

from facecli.photos.mounts import is_mount, mount_of
from facecli.pipeline.census import Census, Verdict, is_below, is_gone, judge


def find_unmounted(recorded: Iterable[str], roots: Iterable[str]) -> list[str]:
    """The recorded mount points below, at or above some roots that are none now."""
    roots = list(roots)
    return [mount for mount in recorded if concerns(mount, roots) and not is_mount(mount)]


def find_gone(census: Census, *, prune: bool | None) -> Verdict:
    """What is gone for certain. `prune` as in IndexOptions.

    A mount point at or above a root that is none now matters only where most of the root is out of sight: else its photos live here now.
    """
    census.unmounted = [m for m in census.unmounted if census.root_of(m) is not None or _hides(m, census)]
    return Verdict([], [], {}, []) if prune is False else judge(census, ask_nobody=prune is True)


def _hides(mount: str, census: Census) -> bool:
    return any(is_at_or_below(root, mount) and census.is_mostly_missed(root) for root in census.roots)


def explain(census: Census, verdict: Verdict) -> Iterator[str]:
    """Say what is kept though it is not there, and the way out."""
    for root in verdict.emptied:
        yield f"{root} holds none of its photos now; the {census.known[root]} that the index knows there are kept: {way_out(root)}"
    for root, count in verdict.spared.items():
        yield f"{count} photos below {root} are gone, more than half of it, and are kept; facecli index --prune drops them"
    for place in census.unmounted:
        yield f"{place} was a mount point and is none now; the photos that the index knows there are kept: {way_out(place)}"


def way_out(root: str) -> str:
    """The command that drops what is kept."""
    return f"facecli remove --root {shlex.quote(root)} drops them"


def mounts_to_remember(recorded: Iterable[str], seen: Iterable[str], roots: Iterable[str], census: Census) -> list[str]:
    """The mount points that a later run must know: those below `roots`, and the one that each lies on.

    Of those recorded earlier stay the ones that are still mounted, or whose photos are out of sight.
    """
    roots = list(roots)
    away = [root for root in roots if root not in census.roots]
    kept = [m for m in recorded if concerns(m, away) or (concerns(m, roots) and (m in census.unmounted or is_mount(m)))]
    return sorted({*kept, *seen, *(mount_of(root) for root in census.roots)})


def concerns(mount: str, roots: Iterable[str]) -> bool:
    """Whether a mount point lies below, at or above one of some roots."""
    return any(is_below(mount, root) or is_at_or_below(root, mount) for root in roots)


def has_left(root: str, recorded: Iterable[str]) -> bool:
    """Whether a root is missing from where it stood, and not for the want of its disk.

    The directory above can be listed, and everything is mounted that was mounted at or above the root when it was indexed. An index of
    0.1.0 did not note that; of its roots nothing is known until they are indexed again.
    """
    above = [mount for mount in recorded if is_at_or_below(root, mount)]
    return bool(above) and all(map(is_mount, above)) and is_gone(root) and _can_be_listed(os.path.dirname(root))


def _can_be_listed(directory: str) -> bool:
    try:
        os.scandir(directory).close()
    except OSError:
        return False
    return True


def is_at_or_below(path: str, directory: str) -> bool:
    """Whether a path is a directory or lies below it, by its name."""
    return path == directory or is_below(path, directory)
