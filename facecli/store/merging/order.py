"""Photos and skipped files of several indexes in the order of their paths, each path once."""

from __future__ import annotations

import heapq
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from msgspec import Struct

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.whole_rows import WholePhoto
from facecli.types import Skipped

CHUNK_PHOTOS, CHUNK_FACES = 2048, 16_384
"""The most of each in a chunk, but for one photo with more faces: some 30 MB."""
_IN_MEMORY = 65_536
"""The number of photo rows in memory, of all indexes together; a page of one is at least _LEAST_PAGE."""
_LEAST_PAGE = 64
Ordered = TypeVar("Ordered")


class Arriving(Struct, frozen=True):
    """A photo of one of the indexes."""

    photo: WholePhoto
    shard: int
    """The number of the index."""
    others: int = 0
    """How many other indexes have a photo at this path, which this one supersedes."""


def arriving(shards: Sequence[Catalogue]) -> Iterator[Arriving]:
    """The photos of all shards, ascending by path, with one for each path.

    Of several at one path it is the one whose file was changed last; the first of those where that is equal. Photos
    that must be embedded again come only where no other shard has the path.
    """
    page = max(_LEAST_PAGE, _IN_MEMORY // max(1, len(shards)))

    def of(number: int) -> Iterator[Arriving]:
        return (Arriving(photo, number) for photo in shards[number].whole_photos(page))

    merged = heapq.merge(*map(of, range(len(shards))), key=lambda one: one.photo.place)
    for same in _groups(merged, lambda one: one.photo.place):
        if len(same) == 1:
            yield same[0]
            continue
        best = max(same, key=lambda one: (not one.photo.again, one.photo.file.mtime_ns))
        yield Arriving(best.photo, best.shard, len(same) - 1)


def chunks(photos: Iterable[Arriving]) -> Iterator[list[Arriving]]:
    """The photos in portions for one transaction; where one ends depends on the photos alone."""
    chunk: list[Arriving] = []
    faces = 0
    for one in photos:
        if chunk and (len(chunk) == CHUNK_PHOTOS or faces + one.photo.faces > CHUNK_FACES):
            yield chunk
            chunk, faces = [], 0
        chunk.append(one)
        faces += one.photo.faces
    if chunk:
        yield chunk


def skipped_files(shards: Sequence[Catalogue]) -> Iterator[Skipped]:
    """The skipped files of all shards, ascending by path, with the latest state of each."""
    merged = heapq.merge(*(shard.skips() for shard in shards), key=_place)
    for same in _groups(merged, _place):
        yield max(same, key=lambda skip: skip.file.mtime_ns)


def _place(skip: Skipped) -> bytes:
    return os.fsencode(skip.file.path)


def _groups(ordered: Iterable[Ordered], key: Callable[[Ordered], object]) -> Iterator[list[Ordered]]:
    return (list(same) for _, same in itertools.groupby(ordered, key=key))
