"""Dry run: predict the result of a run from names, sizes and times, and from contents only if needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from msgspec import Struct, field

from facecli.config import IndexOptions
from facecli.directories import is_gone
from facecli.indexing.change_detector import ChangeDetector
from facecli.indexing.departures import explain, find_gone
from facecli.indexing.diff import Pair
from facecli.indexing.relocation import departed_roots, is_enough, tell_moves
from facecli.photos.files import read_photo
from facecli.photos.scan import Scan
from facecli.reporting import Reporter, SilentReporter
from facecli.store.reader import IndexReader
from facecli.store.records import StoredPhoto
from facecli.types import IndexReport, PhotoFile, Skipped


class _Lost(Struct):
    """Missing photos that the new files are searched for."""

    root: str = ""
    """The missing root that they were below; empty for photos missed by this run, each of which may have moved on
    its own."""
    total: int = 0
    sizes: set[int] = field(default_factory=set)
    waiting: dict[bytes, list[int]] = field(default_factory=dict)
    """The ids that have not been found yet, by content."""
    found: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, photos: Iterable[StoredPhoto], root: str = "") -> _Lost:
        lost = cls(root)
        for photo in photos:
            lost.total += 1
            lost.sizes.add(photo.file.size)
            lost.waiting.setdefault(photo.digest, []).append(photo.photo_id)
        return lost

    def find(self, digest: bytes) -> bool:
        """Take one photo of this content; returns whether there was one left."""
        ids = self.waiting.get(digest)
        if not ids:
            return False
        self.found.add(ids.pop())
        return True


class Rehearsal:
    """Counts the results of a run over a scan without doing it.

    A file that was never read counts as new, even if it turns out to be unreadable.
    """

    def __init__(self, options: IndexOptions, scan: Scan, store: IndexReader | None, report: IndexReport) -> None:
        self._options, self._store, self._report = options, store, report
        self._reporter: Reporter = SilentReporter()
        self._agenda = ChangeDetector(options, scan, store, report)
        self._keeps_out = store is not None and store.info.kept_out > 0
        self._new: list[PhotoFile] = []
        self._replaced = 0

    def run(self, reporter: Reporter, stop: Callable[[], int], *, migrates: bool) -> None:
        """Fill in the report until `stop` gives the number of a signal.

        A migration reads every photo, so all count as new.
        """
        self._reporter = reporter
        if self._store is not None:
            self._report.photos.total, self._report.faces.total = self._store.info.photos, self._store.info.faces
        for entry in self._agenda:
            if stop():
                break
            if isinstance(entry, Skipped):
                self._skip(entry)
            elif isinstance(entry, Pair):
                self._take(entry)
        moved = self._follow_moves(stop, alone=not migrates)
        self._report.interrupted_by = stop()
        if not self._report.interrupted_by:
            self._count_departures(moved, migrates=migrates)

    def _count_departures(self, moved: set[int | None], *, migrates: bool) -> None:
        census, photos = self._agenda.census, self._report.photos
        census.missed = [(path, photo_id) for path, photo_id in census.missed if photo_id not in moved]
        verdict = find_gone(census, prune=self._options.prune)
        for line in explain(census, verdict) if self._options.prune is not False else ():
            self._reporter.warn(line)
        photos.removed = len(verdict.gone) + self._replaced
        if migrates:
            if self._options.drop_unreachable:
                photos.removed = photos.total - photos.unchanged - photos.changed - photos.moved
            photos.new, photos.changed, photos.unchanged = photos.new + photos.changed + photos.unchanged, 0, 0

    def _skip(self, skipped: Skipped) -> None:
        self._reporter.skip(skipped)
        self._report.photos.skipped += 1
        self._report.skipped.append(skipped)

    def _take(self, pair: Pair) -> None:
        """Count a file that a run would read; it is unchanged if only its mtime differs."""
        assert isinstance(pair.found, PhotoFile)
        known, photos = pair.known, self._report.photos
        if known is None or known.photo_id is None:
            if self._store is None:
                photos.new += 1
            else:
                self._new.append(pair.found)
        else:
            digest = self._read(pair.found)
            is_same = digest == known.digest and not self._options.force
            self._replaced += digest is None
            photos.unchanged += is_same
            photos.changed += isinstance(digest, bytes) and not is_same

    def _read(self, file: PhotoFile) -> bytes | Skipped | None:
        """A file's digest, the reason if it is unreadable, or None if its content was removed earlier; counts both."""
        contents = read_photo(file, self._options.reading)
        if isinstance(contents, Skipped):
            self._skip(contents)
            return contents
        if self._store is not None and self._keeps_out and self._store.kept_out(contents.digest).photo:
            self._report.kept_out += 1
            return None
        return contents.digest

    def _follow_moves(self, stop: Callable[[], int], *, alone: bool) -> set[int | None]:
        """Count the new files as moved or really new; returns the ids of photos that moved on their own.

        A file is only read if its size is that of a missing photo, or if removed contents must be recognised.
        """
        missed, roots = _Lost.of(self._missed() if alone else ()), self._departed()
        for file in self._new:
            if stop():
                break
            digest = (
                self._read(file)
                if self._keeps_out or any(file.size in lost.sizes for lost in (missed, *roots))
                else b""
            )
            if isinstance(digest, bytes):
                is_moved = missed.find(digest)
                self._report.photos.moved += is_moved
                self._report.photos.new += not is_moved and not any(lost.find(digest) for lost in roots)
        for lost in roots:
            count = len(lost.found)
            tell_moves(lost.root, count, lost.total, self._reporter)
            if is_enough(count, lost.total):
                self._report.photos.moved += count
                self._report.missing_roots = [root for root in self._report.missing_roots if root != lost.root]
            else:
                self._report.photos.new += count
        return {*missed.found}

    def _missed(self) -> Iterator[StoredPhoto]:
        """The photos missed by this run that are gone, not just unreachable."""
        census = self._agenda.census
        for path, photo_id in census.missed:
            if photo_id is not None and not census.is_closed(path) and is_gone(path) and self._store is not None:
                photo = self._store.photo(photo_id)
                if photo is not None:
                    yield photo

    def _departed(self) -> list[_Lost]:
        store = self._store
        roots = departed_roots(store.roots(), store.mounts(), self._agenda.census) if store is not None else []
        return [_Lost.of(store.photos(root), root) for root in roots] if store is not None else []
