"""Paths in the catalogue: bytes, relative to the parent directory of the index where they lie below it."""

from __future__ import annotations

import os
from pathlib import Path

Range = tuple[bytes, bytes]
"""A half-open range of stored paths: from the first up to, but not including, the second."""


class StoredPaths:
    """Converts between absolute paths and their stored form."""

    def __init__(self, directory: Path) -> None:
        parent = os.fsencode(directory.parent)
        self.base = parent if parent.endswith(b"/") else parent + b"/"
        """The prefix of relative paths, with its slash."""
        self._after = self.base[:-1] + b"0"

    def pack(self, path: str) -> bytes:
        """The stored form of an absolute path; the parent of the index itself is stored as a dot."""
        raw = os.fsencode(path)
        if raw.startswith(self.base) and len(raw) > len(self.base):
            return raw[len(self.base) :]
        return b"." if raw + b"/" == self.base or raw == self.base else raw

    @staticmethod
    def is_stored(stored: bytes) -> bool:
        """Whether bytes are a valid stored path: not empty, without NUL and without `..`."""
        return bool(stored) and b"\0" not in stored and b".." not in stored.split(b"/")

    def unpack(self, stored: bytes) -> str:
        """The absolute path of a stored form; raises ValueError where that is not valid."""
        if not self.is_stored(stored):
            raise ValueError("not a stored path")
        if stored.startswith(b"/"):
            return os.fsdecode(stored)
        return os.fsdecode(self.base[:-1] or b"/") if stored == b"." else os.fsdecode(self.base + stored)

    def ranges(self, root: str) -> list[Range]:
        """The ranges of stored paths at and below an absolute path, in the order of the absolute paths."""
        raw = os.fsencode(root).rstrip(b"/")
        point = [] if not raw else self._split(raw, raw + b"\0")
        return point + self._split(raw + b"/", raw + b"0")

    def misplaced(self) -> Range:
        """The range of absolute stored paths below the parent of the index, as after the index was moved there."""
        return (self.base, self._after)

    def _split(self, low: bytes, high: bytes) -> list[Range]:
        """Convert one range of absolute paths to ranges of stored ones."""
        base = self.base
        if low.startswith(base):
            end = high[len(base) :] if high.startswith(base) else b"\xff" * 16
            return _without_absolute(low[len(base) :], end)
        if not low < base < high:
            return [(low, high)]
        return [(low, base), *_without_absolute(b"", b"\xff" * 16), (self._after, high)]


def _without_absolute(low: bytes, high: bytes) -> list[Range]:
    """A range of relative paths without those that begin with a slash."""
    parts = [(low, min(high, b"/")), (max(low, b"0"), high)]
    return [(a, b) for a, b in parts if a < b]
