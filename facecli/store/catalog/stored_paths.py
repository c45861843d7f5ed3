"""How the catalogue writes paths: as bytes, relative to the directory that holds the index where they lie below it."""

from __future__ import annotations

import os
from pathlib import Path

Range = tuple[bytes, bytes]
"""Stored paths from the first to before the second."""


class StoredPaths:
    """Translates between absolute paths and what the catalogue holds."""

    def __init__(self, directory: Path) -> None:
        parent = os.fsencode(directory.parent)
        self.base = parent if parent.endswith(b"/") else parent + b"/"
        """What stands before a relative path, with its slash."""
        self._after = self.base[:-1] + b"0"

    def pack(self, path: str) -> bytes:
        """The stored form of an absolute path; the index's parent itself is a dot."""
        raw = os.fsencode(path)
        if raw.startswith(self.base) and len(raw) > len(self.base):
            return raw[len(self.base) :]
        return b"." if raw + b"/" == self.base or raw == self.base else raw

    @staticmethod
    def is_stored(stored: bytes) -> bool:
        """Whether bytes are what some path is stored as: none that leads up again, and none that the system would not take."""
        return bool(stored) and b"\0" not in stored and b".." not in stored.split(b"/")

    def unpack(self, stored: bytes) -> str:
        """The absolute path of a stored form; raises ValueError on what no path is stored as."""
        if not self.is_stored(stored):
            raise ValueError("no path")
        if stored.startswith(b"/"):
            return os.fsdecode(stored)
        return os.fsdecode(self.base[:-1] or b"/") if stored == b"." else os.fsdecode(self.base + stored)

    def ranges(self, root: str) -> list[Range]:
        """The ranges of stored paths at and below an absolute path, in the order of the absolute paths."""
        raw = os.fsencode(root).rstrip(b"/")
        point = [] if not raw else self._split(raw, raw + b"\0")
        return point + self._split(raw + b"/", raw + b"0")

    def misplaced(self) -> Range:
        """The range of absolute stored paths that lie below the index's parent, as after the index was moved there."""
        return (self.base, self._after)

    def _split(self, low: bytes, high: bytes) -> list[Range]:
        """One range of absolute paths as ranges of stored ones."""
        base = self.base
        if low.startswith(base):
            end = high[len(base) :] if high.startswith(base) else b"\xff" * 16
            return _without_absolute(low[len(base) :], end)
        if not low < base < high:
            return [(low, high)]
        return [(low, base), *_without_absolute(b"", b"\xff" * 16), (self._after, high)]


def _without_absolute(low: bytes, high: bytes) -> list[Range]:
    """A range of relative paths, less those that begin with a slash."""
    parts = [(low, min(high, b"/")), (max(low, b"0"), high)]
    return [(a, b) for a, b in parts if a < b]
