"""Files in the catalogue: photos and skipped files by path and content, roots and mount points."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from facecli.config import MOST_PATTERNS, check_pattern
from facecli.errors import IndexDamaged, UsageError
from facecli.store.catalog.rows import CAPTURE, as_bytes, as_int
from facecli.store.catalog.schema import CAPTURES_FROM, CHANGES_FROM, EXCLUDES_FROM, PARTS_FROM
from facecli.store.catalog.sets import Row, SetQueries
from facecli.store.errors import trusted
from facecli.store.records import FileStat, KnownFile
from facecli.types import PhotoFile, Skipped, SkipReason

_LONGEST_PART = 50


class FileQueries(SetQueries):
    """Queries about files."""

    @property
    def _stat(self) -> str:
        """The columns that show whether a file is unchanged."""
        return "size, mtime_ns, ctime_ns, inode" if self.version >= CHANGES_FROM else "size, mtime_ns, NULL, NULL"

    @property
    def capture_columns(self) -> str:
        """The columns of a capture."""
        return ", ".join(CAPTURE if self.version >= CAPTURES_FROM else ["NULL"] * len(CAPTURE))

    def under(self, root: str) -> Iterator[KnownFile]:
        """Photos and skipped files at and below a path, ascending by path."""
        for low, high in self.paths.ranges(root):
            skips = self._pages(
                f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips WHERE path >= ? AND path < ?",
                (),
                low,
                high,
            )
            query = (
                f"SELECT path, {self._stat}, photo_id, digest, again FROM photos "
                "WHERE set_id = ? AND path >= ? AND path < ?"
            )
            photos = self._pages(query, (self.set_id,), low, high)
            yield from self._merge(photos, skips)

    def stats_under(self, root: str) -> Iterator[FileStat]:
        """The paths of `under` as plain rows, at a fifth of the cost.

        A run over unchanged files reads millions of them.
        """
        for low, high in self.paths.ranges(root):
            before = b"" if low.startswith(b"/") else self.paths.base
            skips: Iterator[Any] = self._pages("SELECT path FROM skips WHERE path >= ? AND path < ?", (), low, high)
            query = (
                f"SELECT path, {self._stat}, photo_id, again FROM photos WHERE set_id = ? AND path >= ? AND path < ?"
            )
            photos: Iterator[Any] = self._pages(query, (self.set_id,), low, high)
            with trusted(self.path):
                (skip,) = next(skips, (None,))
                for path, size, mtime_ns, ctime_ns, inode, photo_id, again in photos:
                    while skip is not None and skip < path:
                        yield before + skip, -1, -1, None, None, None
                        (skip,) = next(skips, (None,))
                    if skip == path:
                        # Look up the whole record of a skipped file, as of one that must be embedded again.
                        again = True  # noqa: PLW2901
                        (skip,) = next(skips, (None,))
                    if b"\0" in path:
                        raise ValueError("not a stored path")
                    yield before + path, -1 if again else size, mtime_ns, ctime_ns, inode, photo_id
                while skip is not None:
                    yield before + skip, -1, -1, None, None, None
                    (skip,) = next(skips, (None,))

    def _merge(self, photos: Iterator[Row], skips: Iterator[Row]) -> Iterator[KnownFile]:
        skip = next(skips, None)
        for row in photos:
            while skip is not None and skip[0] < row[0]:  # type: ignore[operator]
                yield self._known_skip(skip)
                skip = next(skips, None)
            known = self._known_photo(row)
            if skip is not None and skip[0] == row[0]:
                known.skip = self._skip(skip)
                known.file = known.skip.file
                skip = next(skips, None)
            yield known
        while skip is not None:
            yield self._known_skip(skip)
            skip = next(skips, None)

    def _known_photo(self, row: Row) -> KnownFile:
        *file, photo_id, digest, again = row
        with trusted(self.path):
            if again:
                return KnownFile(
                    as_int(photo_id), PhotoFile(self.paths.unpack(as_bytes(file[0])), -1, -1), b"", again=True
                )
            return KnownFile(as_int(photo_id), self._file(*file), as_bytes(digest))

    def _file(self, path: object, size: object, mtime_ns: object, *change: object) -> PhotoFile:
        """A file as recorded; `change` holds its ctime in ns and its inode, both None where not known."""
        known = () if None in change else map(as_int, change)
        return PhotoFile(self.paths.unpack(as_bytes(path)), as_int(size), as_int(mtime_ns), *known)

    def _known_skip(self, row: Row) -> KnownFile:
        skip = self._skip(row)
        return KnownFile(None, skip.file, b"", skip)

    def _skip(self, row: Row) -> Skipped:
        *file, reason, detail, refused_by = row
        with trusted(self.path):
            return Skipped(self._file(*file), SkipReason(str(reason)), str(detail), str(refused_by), known=True)

    def at(self, path: str) -> KnownFile | None:
        """The record of one path, None where there is none."""
        stored = self.paths.pack(path)
        query = f"SELECT path, {self._stat}, photo_id, digest, again FROM photos WHERE set_id = ? AND path = ?"
        photos = self.rows(query, (self.set_id, stored))
        skips = self.rows(f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips WHERE path = ?", (stored,))
        return next(self._merge(iter(photos), iter(skips)), None)

    def with_digest(self, digest: bytes) -> list[KnownFile]:
        """The photos with this content, ascending by path."""
        query = (
            f"SELECT path, {self._stat}, photo_id, digest, again FROM photos "
            "WHERE digest = ? AND set_id = ? AND NOT again"
        )
        found = [self._known_photo(row) for row in self.rows(query, (digest, self.set_id))]
        return sorted(found, key=lambda known: os.fsencode(known.file.path)) if len(found) > 1 else found

    def shares_content(self, root: str, first: int) -> bool:
        """Whether a photo with id `first` or higher has the same content as an earlier one below a root."""
        # Without the hints SQLite would scan all photos for n, and all below the root for each of them.
        earlier = (
            "photos o INDEXED BY photos_by_digest WHERE o.digest = n.digest AND o.set_id = n.set_id AND o.photo_id < ?"
        )
        late = (
            "photos n NOT INDEXED WHERE n.photo_id >= ? AND n.set_id = ? "
            f"AND EXISTS (SELECT 1 FROM {earlier} AND o.path >= ? AND o.path < ?)"
        )
        query = f"SELECT 1 FROM {late} LIMIT 1"
        return any(self.rows(query, (first, self.set_id, first, low, high)) for low, high in self.paths.ranges(root))

    def photo_of_content(self, digest: bytes) -> int | None:
        """The id of any photo with this content, None where there is none."""
        rows = self.rows(
            "SELECT photo_id FROM photos WHERE digest = ? AND set_id = ? AND NOT again LIMIT 1", (digest, self.set_id)
        )
        with trusted(self.path):
            return as_int(rows[0][0]) if rows else None

    def known_contents(self) -> bytes:
        """The first eight bytes of the digest of each photo, ascending: uint64, little-endian, read big-endian."""
        rows = self.rows("SELECT substr(digest, 1, 8) FROM photos WHERE set_id = ? AND NOT again", (self.set_id,))
        with trusted(self.path):
            beginnings = b"".join(as_bytes(beginning) for (beginning,) in rows)
            return np.sort(np.frombuffer(beginnings, ">u8")).astype("<u8").tobytes()

    def skips(self) -> Iterator[Skipped]:
        """The skipped files on record, ascending by path."""
        for low, high in self.paths.ranges("/"):
            query = f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips WHERE path >= ? AND path < ?"
            yield from map(self._skip, self._pages(query, (), low, high))

    def unreadable(self) -> Iterator[tuple[str, str, object]]:
        """The table of each record of a file, root or pattern that cannot be read, and a column with its value."""
        for row in self.rows(f"SELECT path, {self._stat}, reason, detail, refused_by FROM skips"):
            try:
                self._skip(row)
            except IndexDamaged:
                yield "skips", "path", row[0]
        for (path,) in self.rows("SELECT path FROM roots"):
            if not isinstance(path, bytes) or not self.paths.is_stored(path):
                yield "roots", "path", path
        for (pattern,) in self.rows(f"SELECT pattern FROM {self._excludes}"):
            if not _is_pattern(pattern):
                yield "excludes", "pattern", pattern

    @property
    def _excludes(self) -> str:
        return "excludes" if self.version >= EXCLUDES_FROM else "(SELECT 0 AS place, NULL AS pattern WHERE false)"

    def excludes(self) -> tuple[str, ...]:
        """The patterns of earlier runs, in their order."""
        rows = self.rows(f"SELECT pattern FROM {self._excludes} ORDER BY place LIMIT {MOST_PATTERNS + 1}")
        if len(rows) > MOST_PATTERNS or not all(_is_pattern(pattern) for (pattern,) in rows):
            raise IndexDamaged(
                "the patterns to exclude are damaged", self.path, hint="facecli check --repair drops them"
            )
        return tuple(str(pattern) for (pattern,) in rows)

    def unlooked(self, after: int = 0) -> list[tuple[int, PhotoFile]]:
        """Some photos, by id from `after` on, of which it is not known whether their files say when they were taken."""
        if self.version < CAPTURES_FROM:
            return []
        query = (
            f"SELECT photo_id, path, {self._stat} FROM photos INDEXED BY photos_unlooked "
            "WHERE looked IS NULL AND photo_id > ? ORDER BY photo_id LIMIT 1000"
        )
        with trusted(self.path):
            return [(as_int(number), self._file(*file)) for number, *file in self.rows(query, (after,))]

    def part(self) -> str:
        """The part of the photos that the index is restricted to, as `1/3`; empty for all of them."""
        rows = self.rows("SELECT part FROM state") if self.version >= PARTS_FROM else []
        return str(rows[0][0] or "")[:_LONGEST_PART] if rows else ""

    def roots(self) -> tuple[str, ...]:
        """The roots, sorted."""
        rows = self.rows("SELECT path FROM roots WHERE NOT mount")
        with trusted(self.path):
            return tuple(sorted((self.paths.unpack(as_bytes(path)) for (path,) in rows), key=os.fsencode))

    def mounts(self) -> dict[str, int | None]:
        """The mount points of the roots, each with the device number of the file system that was mounted there."""
        number = "file_system" if self.version >= CHANGES_FROM else "NULL"
        rows = self.rows(f"SELECT path, {number} FROM roots WHERE mount ORDER BY path")
        with trusted(self.path):
            return {self.paths.unpack(as_bytes(path)): None if n is None else as_int(n) for path, n in rows}


def _is_pattern(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(check_pattern(value))
    except UsageError:
        return False
