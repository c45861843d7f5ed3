"""Taking photos out of an index: those that are gone from the disk, and the contents that are to be let back."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from msgspec import Struct

from facecli.config import ReadOptions, ScanOptions
from facecli.errors import PhotoError, StoreError, check_name
from facecli.indexing.departures import concerns, explain, find_gone, find_hidden, find_unmounted, removal_hint
from facecli.indexing.prune_policy import Census, is_below, is_gone
from facecli.photos.files import read_photo, stat_photo
from facecli.photos.mounts import FileSystems
from facecli.photos.scan import Scan
from facecli.store.reader import IndexReader
from facecli.store.records import StoredPhoto
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

    A root that is missing or from which everything is gone, a mount point that is none now, and a root that would lose
    more than half of its photos, and at least 100, lose nothing.
    """
    roots = [root for root in reader.roots() if os.path.isdir(root)]
    away = [root for root in reader.roots() if root not in roots]
    census = Census(roots)
    census.unmounted, census.hidden = find_unmounted(reader.mounts(), census.roots), find_hidden(reader, census.roots)
    for root in roots:
        for raw, *_, photo_id in census.recall(root, reader.stats_under(root)):
            path = os.fsdecode(raw)
            if is_gone(path):
                census.miss(path, photo_id)
            else:
                census.seen[root] += 1
    verdict = find_gone(census, prune=None)
    said = [
        *(f"{root} is not there; its photos are kept: {removal_hint(root)}" for root in away),
        *explain(census, verdict),
    ]
    paths = {photo_id: path for path, photo_id in census.missed if photo_id is not None}
    return Missing({photo_id: paths[photo_id] for photo_id in verdict.gone}, tuple(verdict.gone_skips), tuple(said))


class RootRemoval(Struct, frozen=True):
    """What goes with a root."""

    places: tuple[str, ...]
    """The root, and the mount points that were kept for it alone."""
    photos: dict[int, StoredPhoto]
    skipped_paths: tuple[str, ...]


def plan_root_removal(reader: IndexReader, root: str) -> RootRemoval:
    """What stands only below a root: not what stands below a further one within it.

    A root that has moved may have left photos behind, which stand below no root any more; the directory that they stood
    in is taken as one. Raises StoreError where the directory is neither, nor a mount point of a root: what stands below
    a root comes back with the next run.
    """
    roots = reader.roots()
    others = [other for other in roots if is_below(other, root)]
    photos = {
        p.photo_id: p
        for p in reader.photos(root)
        if is_below(p.file.path, root) and not _is_below_any(p.file.path, others)
    }
    paths = (skip.file.path for skip in reader.skips())
    skips = tuple(path for path in paths if is_below(path, root) and not _is_below_any(path, others))
    is_known = root in (*roots, *(mount for mount in reader.mounts() if mount != "/"))
    if not is_known and (_is_below_any(root, roots) or not (photos or skips)):
        known = ", ".join(map(shlex.quote, roots)) or "none"
        raise StoreError("no root of the index", root, hint=f"its roots: {known}; facecli remove PATH takes photos out")
    left = [other for other in roots if other != root]
    mounts = [mount for mount in reader.mounts() if mount != "/" and (mount == root or not concerns(mount, left))]
    return RootRemoval((root, *mounts), photos, skips)


def _is_below_any(path: str, directories: Sequence[str]) -> bool:
    return any(is_below(path, directory) for directory in directories)


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
        raise StoreError(
            "nothing is kept out of it",
            ", ".join(targets),
            hint="--forget takes what was removed: its file, or its face:ID",
        )
