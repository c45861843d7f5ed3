"""What a deletion may have left in the catalogue's bytes: its traces are collected, and looked for in the file.

SQLite's secure_delete zeroes what it frees, but a page whose cells were moved to another keeps stale copies in its gaps.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MOST_ITEMS = 20_000
"""Deletions beyond which the file is written anew without a search."""
_WORD = 8
_CHUNK = 8 << 20
_TAIL = 24
"""Bytes of a path's end that are looked for as well, since a stale copy may have lost its beginning."""
Words = NDArray[np.uint64]


@dataclass(slots=True)
class Traces:
    """Bytes that were deleted: paths, and blobs (embeddings, digests) of which any piece counts."""

    paths: list[bytes] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    complete: bool = True
    """Whether all deletions since the last proof are in here."""

    def add(self, paths: Iterable[bytes] = (), blobs: Iterable[bytes] = ()) -> None:
        """Remember what was deleted; too much to look for makes the record incomplete."""
        self.paths += paths
        self.blobs += blobs
        if len(self.paths) + len(self.blobs) > MOST_ITEMS:
            self.paths, self.blobs, self.complete = [], [], False

    def found_in(self, path: Path) -> bool:
        """Whether a file holds any of the paths (or the end of one), or 16 bytes in a row of any blob."""
        texts = {text for item in self.paths for text in (item, item[-_TAIL:])}
        words = _sliding_words(self.blobs)
        overlap = max((len(text) for text in texts), default=_WORD)
        with path.open("rb", buffering=0) as file:
            before = b""
            while chunk := file.read(_CHUNK):
                if any(text in before + chunk for text in texts) or _holds_words(chunk, words):
                    return True
                before = chunk[-overlap:]
        return False


def _sliding_words(blobs: list[bytes]) -> Words:
    """Every run of eight bytes of the blobs, at any offset, sorted.

    Whatever piece of 15 bytes or more stands anywhere in a file holds a run that begins at a multiple of eight in the file.
    """
    parts: list[Words] = []
    for blob in blobs:
        raw = np.frombuffer(blob, np.uint8)
        if len(raw) >= _WORD:
            parts.append(np.ascontiguousarray(np.lib.stride_tricks.sliding_window_view(raw, _WORD)).view("<u8").reshape(-1))
    words: Words = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)
    nonzero: Words = words[words != 0]
    return nonzero


def _holds_words(chunk: bytes, words: Words) -> bool:
    """Whether a word at a multiple of eight bytes of the chunk is one of the sorted words."""
    if not len(words):
        return False
    aligned = np.frombuffer(chunk, "<u8", count=len(chunk) // _WORD)
    table = np.zeros(1 << 16, bool)
    table[_short(words)] = True
    likely = aligned[table[_short(aligned)]]
    places = np.searchsorted(words, likely).clip(max=len(words) - 1)
    return bool((words[places] == likely).any())


def _short(words: Words) -> NDArray[np.uint16]:
    """Sixteen bits of each word, for a table that fits the processor's cache."""
    return ((words * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48)).astype(np.uint16)


def file_size(path: Path) -> int:
    """The size of a file; 0 where there is none."""
    try:
        return os.stat(path, follow_symlinks=False).st_size
    except FileNotFoundError:
        return 0
