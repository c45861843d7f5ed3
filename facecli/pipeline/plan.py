"""What a run has to do: the files of the scan beside what the index knows, both in the order of their paths."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from facecli.store.records import KnownFile
from facecli.types import PhotoFile, Skipped

Found = PhotoFile | Skipped


@dataclass(frozen=True, slots=True)
class Pair:
    """A path that the scan found, the index knows, or both."""

    found: Found | None
    known: KnownFile | None


class Step(Enum):
    """What is to be done about a pair."""

    LOOK = auto()
    """Read the file."""
    KEEP = auto()
    """Nothing: size and time are those that the index knows."""
    KEEP_SKIPPED = auto()
    """Nothing: it could not be read, and nothing that was at fault has changed."""
    SKIP = auto()
    """The scan itself could not get at it."""
    MISS = auto()
    """The index knows it, the scan did not see it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What decides between the steps."""

    force: bool
    retry_skipped: bool
    refusal_holds: Callable[[str], bool]
    """Whether the option or missing reader that refused a file would refuse it again."""

    def step(self, pair: Pair) -> Step:
        """The step for a pair."""
        found, known = pair.found, pair.known
        if found is None:
            return Step.MISS
        if isinstance(found, Skipped):
            return Step.SKIP
        if known is None:
            return Step.LOOK
        if known.skip is not None and known.skip.file == found:
            return Step.KEEP_SKIPPED if self._stays_skipped(known.skip) else Step.LOOK
        if known.photo_id is None or self.force or known.file != found:
            return Step.LOOK
        return Step.KEEP

    def _stays_skipped(self, skip: Skipped) -> bool:
        return skip.reason.lasts and not self.retry_skipped and (not skip.refused_by or self.refusal_holds(skip.refused_by))


def pair_up(found: Iterable[Found], known: Iterable[KnownFile], known_at: Callable[[str], KnownFile | None]) -> Iterator[Pair]:
    """Merge two sequences that ascend by the bytes of their paths.

    What is found outside of `known` (a file that was named by itself) is looked up by `known_at`.
    """
    rest = iter(known)
    other = next(rest, None)
    other_key = os.fsencode(other.file.path) if other is not None else b""
    for one in found:
        path = one.path if isinstance(one, PhotoFile) else one.file.path
        key = os.fsencode(path)
        while other is not None and other_key < key:
            yield Pair(None, other)
            other = next(rest, None)
            other_key = os.fsencode(other.file.path) if other is not None else b""
        if other is not None and other_key == key:
            yield Pair(one, other)
            other = next(rest, None)
            other_key = os.fsencode(other.file.path) if other is not None else b""
        else:
            yield Pair(one, known_at(path))
    while other is not None:
        yield Pair(None, other)
        other = next(rest, None)


def path_order(root: str) -> bytes:
    """The key by which roots are sorted, so that the paths below one come before those below the next."""
    return os.fsencode(root).rstrip(b"/") + b"/"
