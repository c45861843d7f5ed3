"""One index run: new and changed photos go through the workers into the store, missing ones are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from facecli.errors import DeviceError, FacecliError
from facecli.indexing.batch_writer import BatchWriter
from facecli.indexing.change_detector import ChangeDetector
from facecli.indexing.departures import explain, find_gone, mounts_to_remember
from facecli.indexing.diff import Pair
from facecli.indexing.outcomes import ChainResult, FileTask
from facecli.indexing.prune_policy import outermost
from facecli.indexing.relocation import Relocations
from facecli.indexing.request import IndexRequest, Settings
from facecli.photos.scan import Scan
from facecli.pipeline.clock import StageClock
from facecli.pipeline.runner import ThreadPool, run_in_order
from facecli.pipeline.stopping import Stop
from facecli.reporting import Reporter
from facecli.store.writer import IndexWriter
from facecli.types import IndexReport, PhotoFile, Skipped

if TYPE_CHECKING:
    from facecli.indexing.worker_pool import WorkerPool

STRIDE = 64
"""Unchanged files between two updates of the clock and the progress."""
WARN_FACES = 10_000_000
"""The most faces for which an exact search takes less than a second."""


class Run:
    """A run on an index that is open for writing."""

    def __init__(
        self, request: IndexRequest, settings: Settings, scan: Scan, store: IndexWriter, report: IndexReport
    ) -> None:
        self._options, self._settings, self._scan, self._store, self._report = (
            request.options,
            settings,
            scan,
            store,
            report,
        )
        self._agenda = ChangeDetector(request.options, scan, store, report)
        self._agenda.note = store.note_changes
        self._relocations = Relocations(store, self._agenda.census, report, migrates=settings.migrates)
        self._clock = StageClock()
        self._workshop: WorkerPool | None = None
        self._crew: ThreadPool[FileTask, ChainResult] | None = None

    def run(self, reporter: Reporter, stop: Stop, count_files: Callable[[], int]) -> None:
        """Read new and changed photos, drop missing ones, and leave the index complete.

        `count_files` scans the files a second time in parallel, so that a long run can estimate its end.
        """
        began = self._clock.now()
        writer = BatchWriter(self._store, self._report, self._clock, self._options.batch_size)
        writer.may_move = self._may_move
        writer.reads_again = self._options.force
        writer.follows_looked_at = self._options.force and not self._settings.migrates
        with stop.finishing():
            self._look(writer, reporter, stop, count_files)
        if self._scan.ignored:
            reporter.detail(
                "ignored: " + ", ".join(f"{count} {kind}" for kind, count in self._scan.ignored.most_common())
            )
        self._report.interrupted_by = stop()
        if not self._report.interrupted_by:
            self._drop_what_is_gone(writer, reporter)
            self._settle_roots(reporter)
            if self._settings.migrates:
                self._switch(reporter)
            self._finish(reporter)
        self._sum_up(began)

    def _look(self, writer: BatchWriter, reporter: Reporter, stop: Stop, count_files: Callable[[], int]) -> None:
        """Read all new and changed photos, until the end or until a stop is requested.

        Photos in progress are finished and kept.
        """
        reporter.start("photos", None)
        try:
            begun = stop.at_once(self._begin(reporter, count_files))
            for result in run_in_order(begun, window=lambda: self._workshop.window if self._workshop else 1, stop=stop):
                if isinstance(result, Skipped):
                    reporter.skip(result)
                if result is not None:
                    writer.take(result, self._look_again)
                    reporter.advance(1, faces=self._report.faces.added, skipped=self._report.photos.skipped)
            writer.commit()
        except DeviceError:
            writer.commit()
            raise
        finally:
            if self._crew is not None and self._workshop is not None:
                self._crew.close()
                self._workshop.close()
            reporter.stop()

    def _begin(self, reporter: Reporter, count_files: Callable[[], int]) -> Iterator[Future[ChainResult] | None]:
        """Start the tasks of the workers, in the order of the paths."""
        began, idle = self._clock.now(), 0
        for entry in self._agenda:
            if entry is None:
                idle += 1
                if idle < STRIDE:
                    continue
            self._clock.add("scan", busy=self._clock.now() - began)
            reporter.advance(idle)
            idle = 0
            yield self._submit(entry, reporter, count_files) if entry is not None else None
            began = self._clock.now()
        self._clock.add("scan", busy=self._clock.now() - began)
        reporter.advance(idle)

    def _submit(self, entry: Pair | Skipped, reporter: Reporter, count_files: Callable[[], int]) -> Future[ChainResult]:
        """Hand a file to the workers; for a file that the scan could not access, return its Skipped as the result."""
        if isinstance(entry, Skipped):
            future: Future[ChainResult] = Future()
            future.set_result(entry)
            return future
        assert isinstance(entry.found, PhotoFile)
        if self._crew is None:
            # Imported here: a run without new photos needs no model, no decoder and no array library.
            from facecli.indexing.worker_pool import WorkerPool  # noqa: PLC0415

            self._workshop = WorkerPool(self._settings, self._options, self._store, self._clock, reporter)
            self._crew = self._workshop.crew()
            if reporter.watched:
                threading.Thread(target=_expect, args=(reporter, count_files), daemon=True).start()
        return self._crew.submit(FileTask(entry.found, entry.known))

    def _look_again(self, task: FileTask) -> ChainResult:
        assert self._workshop is not None
        return self._workshop.look_again(task)

    def _may_move(self, path: str) -> bool:
        """Whether a photo missing at a path may have moved: only if this run can see that it is gone."""
        return self._agenda.census.root_of(path) is not None and not self._agenda.census.is_closed(path)

    def _drop_what_is_gone(self, writer: BatchWriter, reporter: Reporter) -> None:
        """Drop photos that are gone, and those whose path now holds a content that was removed earlier."""
        census = self._agenda.census
        census.missed = [(path, photo_id) for path, photo_id in census.missed if photo_id not in writer.moved]
        if self._settings.migrates:
            # The new set has only the photos that the run found, so missing ones are looked up in the old set.
            for photo in self._store.unmigrated():
                census.miss(photo.file.path, photo.photo_id)
                census.known[census.root_of(photo.file.path) or ""] += 1
        verdict = find_gone(census, prune=self._options.prune)
        for line in explain(census, verdict) if self._options.prune is not False else ():
            reporter.warn(line)
        gone, skips = [*verdict.gone, *writer.replaced], verdict.gone_skips
        if gone or skips:
            with self._clock.busy("write"):
                self._report.faces.removed += self._store.prune(gone, skips)
            self._report.photos.removed = len(gone)

    def _switch(self, reporter: Reporter) -> None:
        """Replace the old embeddings by the new ones, unless photos would be lost."""
        for photo in self._store.unmigrated():
            reporter.warn(f"not embedded again: {photo.file.path}")
        with self._clock.busy("write"):
            self._report.photos.removed += self._store.finish_migration(drop_unreachable=self._options.drop_unreachable)
        for lost in self._store.lost_decisions:
            whose = f"a face of {lost.name}" if lost.name else "a face with a decision about its person"
            reporter.warn(f"{whose} was not found again: {lost.path}")

    def _settle_roots(self, reporter: Reporter) -> None:
        """Follow moved roots, and store the roots and mount points for later runs."""
        with self._clock.busy("write"):
            moved = self._relocations.settle(reporter, force=self._options.force)
        census = self._agenda.census
        roots = outermost({root for root in self._store.roots() if root not in moved} | {*census.roots})
        self._store.set_roots(roots, mounts_to_remember(self._store.mounts(), self._scan.mounts, roots, census))

    def _finish(self, reporter: Reporter) -> None:
        """Erase the dropped data; an interrupted run leaves that to the next one, since it may take long."""
        with self._clock.busy("write"):
            finished = self._store.finish()
        if not finished.erased:
            reporter.warn(
                "what was removed is not yet provably erased, because another process reads the index; "
                "the next write finishes it"
            )
        faces = self._store.info.faces
        if faces > WARN_FACES:
            reporter.warn(f"the index holds {faces} faces; above {WARN_FACES} an exact search takes more than a second")

    def _sum_up(self, began: float) -> None:
        """Fill the report."""
        report, info = self._report, self._store.info
        report.photos.total, report.faces.total = info.photos, info.faces
        times = self._clock.times()
        if self._workshop is not None and self._workshop.computed:
            report.device, report.provider = self._workshop.models.device.name, self._workshop.models.provider
            report.jobs, report.devices = self._workshop.jobs, self._workshop.devices
            self._workshop.sort_times(times)
        times["write"].wait_seconds = max(
            0.0, self._clock.now() - began - times["write"].busy_seconds - times["scan"].busy_seconds
        )
        report.stages = times


def _expect(reporter: Reporter, count_files: Callable[[], int]) -> None:
    """Report the number of files if they can be counted; any error will be reported by the run itself."""
    with suppress(FacecliError, OSError):
        reporter.expect(count_files())
