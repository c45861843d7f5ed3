"""Removal from an index: photos missing from the disk, whole roots, and what --forget lets back in."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence

from msgspec import Struct

from facecli.config import ReadOptions, ScanOptions
from facecli.directories import is_gone
from facecli.errors import PhotoError, StoreError, check_name
from facecli.indexing.departures import concerns, explain, find_gone, find_hidden, find_unmounted, removal_hint
from facecli.indexing.prune_policy import Census, is_below
from facecli.photos.files import read_photo, stat_photo
from facecli.photos.mounts import FileSystems
from facecli.photos.scan import Scan
from facecli.store.reader import IndexReader
from facecli.store.records import StoredPhoto
from facecli.types import PhotoFile, Skipped


class Missing(Struct, frozen=True):
    """Photos of an index that are certainly gone from the disk, by the rules of pruning."""

    photos: dict[int, str]
    """Ids and paths."""
    skipped_paths: tuple[str, ...]
    spared: tuple[str, ...]
    """Messages about missing photos that are kept, with the reason."""


def find_missing(reader: IndexReader) -> Missing:
    """Find the photos below the roots of the index that are gone from the disk.

    Nothing is dropped below a root that is missing or empty, below a mount point that is not mounted, or below a root
    that would lose more than half of its photos and at least 100.
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
        *(f"{root} is missing; its photos are kept: {removal_hint(root)}" for root in away),
        *explain(census, verdict),
    ]
    paths = {photo_id: path for path, photo_id in census.missed if photo_id is not None}
    return Missing({photo_id: paths[photo_id] for photo_id in verdict.gone}, tuple(verdict.gone_skips), tuple(said))


class RootRemoval(Struct, frozen=True):
    """Everything that is removed with a root."""

    places: tuple[str, ...]
    """The root, and the mount points recorded for it alone."""
    photos: dict[int, StoredPhoto]
    skipped_paths: tuple[str, ...]


def plan_root_removal(reader: IndexReader, root: str) -> RootRemoval:
    """List the photos and skips that are below this root only, and not below another root within it.

    A moved root may leave photos behind that are below no root; their directory counts as a root here. Raises
    StoreError if the directory is none of these and no mount point of a root: below another root, the next run would
    index its photos again.
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
        raise StoreError(
            "not a root of the index", root, hint=f"its roots: {known}; facecli remove PATH removes photos"
        )
    left = [other for other in roots if other != root]
    mounts = [mount for mount in reader.mounts() if mount != "/" and (mount == root or not concerns(mount, left))]
    return RootRemoval((root, *mounts), photos, skips)


def _is_below_any(path: str, directories: Sequence[str]) -> bool:
    return any(is_below(path, directory) for directory in directories)


def contents_of(reader: IndexReader, paths: Sequence[str]) -> Iterator[bytes]:
    """Yield the digests of the photos at and below paths on the disk.

    Raises PhotoError if a path is missing or cannot be read.
    """
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
            raise PhotoError(
                "the photo cannot be read, and --forget finds it by its content",
                path,
                hint="facecli remove --forget-all forgets every removal",
            )
        yield digest


def _digest(reader: IndexReader, file: PhotoFile) -> bytes | None:
    """A file's digest, taken from the index if the file is unchanged; None if it cannot be read."""
    known = reader.at(file.path)
    if known is not None and file.looks_like(known.file) and known.digest:
        return known.digest
    contents = read_photo(file, ReadOptions())
    return None if isinstance(contents, Skipped) else contents.digest


def ask_let_back(count: int, targets: Sequence[str]) -> None:
    """Raise StoreError if none of the targets was removed earlier."""
    if not count:
        raise StoreError(
            "nothing was removed earlier",
            ", ".join(targets),
            hint="--forget takes what was removed: its file, or its face:ID",
        )
