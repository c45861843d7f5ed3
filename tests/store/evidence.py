"""Search every byte of an index for traces of removed data."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from facecli.types import IndexedPhoto


def pieces_of(photos: Iterable[IndexedPhoto]) -> list[bytes]:
    """What no file may hold after the removal of photos: their names, and pieces of their embeddings.

    These are 16 bytes of an embedding, and the signs of all its numbers, as in the compact file.
    """
    found = []
    for photo in photos:
        found.append(os.fsencode(Path(photo.file.path).name))
        codes = photo.embeddings.astype("<f2").tobytes()
        found += [codes[i : i + 16] for i in range(0, len(codes), 16)]
        found += [signs.tobytes() for signs in np.packbits(photo.embeddings > 0, axis=1, bitorder="little")]
    return found


def traces(index: Path, pieces: list[bytes]) -> list[str]:
    """The pieces that are found in any file of an index.

    Pieces are looked up by their first eight bytes at every offset; the few hits are compared whole.
    """
    starts = np.unique(np.array([int.from_bytes(piece[:8].ljust(8, b"\0"), "little") for piece in pieces], np.uint64))
    found = []
    for path in sorted(p for p in index.iterdir() if p.is_file()):
        data = path.read_bytes()
        for offset in range(8):
            words = np.frombuffer(data[offset:], "<u8", count=max(0, len(data) - offset) // 8)
            for place in np.flatnonzero(np.isin(words, starts)):
                at = offset + 8 * int(place)
                found += [f"{path.name} at {at}" for piece in pieces if data.startswith(piece, at)]
    return found
