"""Taking photos out of an index: those that are gone from the disk, and the contents that are to be let back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from msgspec import Struct

from facecli.config import ReadOptions, ScanOptions
from facecli.errors import PhotoError, StoreError, check_name
from facecli.photos.files import read_photo, stat_photo
from facecli.photos.mounts import FileSystems, mounts_below
from facecli.photos.scan import Scan
from facecli.pipeline.census import Census, is_below, is_gone, judge
from facecli.store.facestore import IndexReader
from facecli.types import PhotoFile, Skipped


class Missing(Struct, frozen=True):
    """What of an index is gone from the disk for certain, by the rules of pruning."""

    photos: dict[int, str]
    """Ids and paths."""
    skipped_paths: tuple[str, ...]
    spared: tuple[str, ...]
    """Why other photos that are not there are kept, in words."""


def find_missing(reader: IndexReader) -> Missing:
    """Look for each photo below the roots of the index.

    A root that is missing or from which everything is gone, a mount point that is none now, and a root that would lose more than half of
    its photos, and at least 100, lose nothing.
    """
    roots = [root for root in reader.roots() if os.path.isdir(root)]
    away = [root for root in reader.roots() if root not in roots]
    census = Census(roots)
    mounted = set().union(*(mounts_below(root) for root in roots))
    census.unmounted = [mount for mount in reader.mounts() if mount not in mounted and any(is_below(mount, root) for root in roots)]
    for root in roots:
        for raw, *_, photo_id in census.recall(root, reader.stats_under(root)):
            path = os.fsdecode(raw)
            if is_gone(path):
                census.miss(path, photo_id)
            else:
                census.seen[root] += 1
    verdict = judge(census, ask_nobody=False)
    said = [f"{root} is not there; its photos are kept" for root in away]
    said += [f"{root} holds none of its photos now; they are kept" for root in verdict.emptied]
    said += [f"{count} photos below {root} are gone, more than half of it, and are kept" for root, count in verdict.spared.items()]
    said += [f"{mount} was a mount point and is none now; the photos there are kept" for mount in census.unmounted]
    paths = {photo_id: path for path, photo_id in census.missed if photo_id is not None}
    return Missing({photo_id: paths[photo_id] for photo_id in verdict.gone}, tuple(verdict.gone_skips), tuple(said))


def contents_of(reader: IndexReader, paths: Sequence[str]) -> Iterator[bytes]:
    """The digests of the photos at and below paths on the disk; raises PhotoError where a path is not there or cannot be read."""
    for path in paths:
        check_name(path, "a photo or directory to forget")
        if os.path.isdir(path):
            for file in Scan([path], ScanOptions()):
                digest = None if isinstance(file, Skipped) else _digest(reader, file)
                if digest is not None:
                    yield digest
            continue
        named = stat_photo(path, FileSystems())
        digest = None if isinstance(named, Skipped) else _digest(reader, named)
        if digest is None:
            raise PhotoError("the photo cannot be read, so that what is kept out cannot be told by it", path)
        yield digest


def _digest(reader: IndexReader, file: PhotoFile) -> bytes | None:
    """A file's digest, from the index where it is there unchanged."""
    known = reader.at(file.path)
    if known is not None and file.looks_like(known.file) and known.digest:
        return known.digest
    contents = read_photo(file, ReadOptions())
    return None if isinstance(contents, Skipped) else contents.digest


def ask_let_back(count: int, targets: Sequence[str]) -> None:
    """Raise StoreError where nothing was kept out of what was named."""
    if not count:
        raise StoreError("nothing is kept out of it", ", ".join(targets), hint="--forget takes what was removed: its file, or its face:ID")
