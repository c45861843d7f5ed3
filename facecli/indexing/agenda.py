"""Which photos of a run need a look: what is there beside what is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain as joined

from facecli.config import IndexOptions
from facecli.photos.decode import refusal_holds
from facecli.photos.scan import Scan
from facecli.pipeline.census import Census
from facecli.pipeline.plan import Pair, Rules, Step, pair_up, path_order
from facecli.store.facestore import IndexReader
from facecli.types import IndexReport, PhotoFile, Skipped


def pairs_of(scan: Scan, store: IndexReader | None) -> Iterator[Pair]:
    """The files of a scan beside what the index knows at their paths and below the scan's directories."""
    if store is None:
        return pair_up(scan, (), lambda _: None)
    known = joined.from_iterable(store.under(root) for root in sorted(scan.directories, key=path_order))
    return pair_up(scan, known, store.at)


class Agenda:
    """Goes through the pairs once: counts what needs no look, and gives out what does."""

    def __init__(self, options: IndexOptions, scan: Scan, store: IndexReader | None, report: IndexReport) -> None:
        self._rules = Rules(options.force, options.retry_skipped, lambda refused_by: refusal_holds(refused_by, options.reading))
        self._pairs, self._report = pairs_of(scan, store), report
        self.census = Census(sorted(scan.directories, key=path_order))

    def __iter__(self) -> Iterator[Pair | Skipped | None]:
        """A pair to look at, a file that the scan could not get at, or None where nothing is to be done."""
        for pair in self._pairs:
            yield self._sort(pair)

    def _sort(self, pair: Pair) -> Pair | Skipped | None:
        """Count a pair, and give it back where it is to be acted on."""
        found, known, photos = pair.found, pair.known, self._report.photos
        step = self._rules.step(pair)
        if step is Step.MISS:
            assert known is not None
            self.census.count(known.file.path, known=known.photo_id is not None, seen=False)
            self.census.missed.append((known.file.path, known.photo_id))
            return None
        assert found is not None
        path = found.path if isinstance(found, PhotoFile) else found.file.path
        self.census.count(path, known=known is not None and known.photo_id is not None, seen=True)
        photos.seen += 1
        if step is Step.KEEP:
            photos.unchanged += 1
            return None
        if step is Step.KEEP_SKIPPED:
            assert known is not None
            assert known.skip is not None
            photos.skipped += 1
            self._report.skipped.append(replace(known.skip, known=True))
            return None
        return found if isinstance(found, Skipped) else pair
