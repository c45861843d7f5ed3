"""Find the photos that a run has to read, by comparing the files on disk with the index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain as joined

from msgspec.structs import replace

from facecli.config import IndexOptions
from facecli.indexing.departures import find_hidden, find_unmounted
from facecli.indexing.diff import Action, Missed, Pair, Rules, pair_up
from facecli.indexing.prune_policy import Census
from facecli.photos.decode import refusal_holds
from facecli.photos.scan import Scan
from facecli.store.reader import IndexReader
from facecli.store.records import FileStat
from facecli.types import IndexReport, PhotoFile, Skipped

PAGE = 4096


class ChangeDetector:
    """Goes through the files of a scan once: counts the unchanged files and yields those to read."""

    def __init__(self, options: IndexOptions, scan: Scan, store: IndexReader | None, report: IndexReport) -> None:
        self._rules = Rules(
            options.force, options.retry_skipped, lambda refused_by: refusal_holds(refused_by, options.reading)
        )
        self._scan, self._store, self._report = scan, store, report
        self.census = Census(scan.directories)
        self.census.unlisted = scan.unlisted
        self.census.excludes = scan.excludes
        if store is not None:
            self.census.unmounted = find_unmounted(store.mounts(), self.census.roots)
            self.census.hidden = find_hidden(store, self.census.roots)
        self.note: Callable[[list[PhotoFile]], None] = lambda _: None
        """Called with batches of unchanged files whose ctime and inode are not in the index yet."""
        self._unnoted: list[PhotoFile] = []

    def __iter__(self) -> Iterator[Pair | Skipped | None]:
        """Yield a pair to read, a file that the scan could not access, or None if there is nothing to do."""
        known: Iterable[FileStat] = ()
        if self._store is not None:
            known = joined.from_iterable(
                self.census.recall(root, self._store.stats_under(root)) for root in self.census.roots
            )
        at = self._store.at if self._store is not None else lambda _: None
        # With --force unchanged files are read too: no file has the size -1, so none equals its row.
        known = ((row[0], -1, *row[2:]) for row in known) if self._rules.force else known
        for entry in pair_up(self.census.watch(self._scan), known, at):
            if entry is None:
                self._report.photos.seen += 1
                self._report.photos.unchanged += 1
                yield None
            elif isinstance(entry, PhotoFile):
                self._report.photos.seen += 1
                self._report.photos.unchanged += 1
                self._note(entry)
                yield None
            elif isinstance(entry, Missed):
                self.census.miss(entry.path, entry.photo_id)
                yield None
            else:
                yield self._sort(entry)
        self.note(self._unnoted)

    def _note(self, file: PhotoFile) -> None:
        self._unnoted.append(file)
        if len(self._unnoted) == PAGE:
            self.note(self._unnoted)
            self._unnoted = []

    def _sort(self, pair: Pair) -> Pair | Skipped | None:
        """Count a pair; returns it if the file is to be read, or its Skipped if the scan could not access it."""
        photos, known = self._report.photos, pair.known
        photos.seen += 1
        if (
            known is not None
            and known.file.ctime_ns is None
            and isinstance(pair.found, PhotoFile)
            and pair.found.looks_like(known.file)
        ):
            self._note(pair.found)
        match self._rules.step(pair):
            case Action.KEEP:
                photos.unchanged += 1
            case Action.KEEP_SKIPPED:
                assert known is not None
                assert known.skip is not None
                photos.skipped += 1
                self._report.skipped.append(replace(known.skip, known=True))
            case Action.SKIP:
                assert isinstance(pair.found, Skipped)
                return pair.found
            case Action.LOOK:
                return pair
        return None
