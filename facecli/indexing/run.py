"""One index run: new and changed photos go through the workers into the store, missing ones are dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from facecli.errors import DeviceError, PackError, UsageError, WorkerError
from facecli.fleet.backlog import Slot
from facecli.fleet.crew import Crew
from facecli.fleet.dispatcher import Dispatcher, Translation, Withdrawn
from facecli.indexing.batch_writer import BatchWriter
from facecli.indexing.change_detector import ChangeDetector
from facecli.indexing.departures import explain, find_gone, mounts_to_remember
from facecli.indexing.diff import Pair
from facecli.indexing.engines import EngineChoice
from facecli.indexing.expectation import Count, Expectation
from facecli.indexing.looking_back import look_back
from facecli.indexing.outcomes import FileOutcome, FileTask, give_up, is_doubtful, read_result, task_record
from facecli.indexing.prune_policy import outermost
from facecli.indexing.relocation import Relocations, not_visited
from facecli.indexing.request import IndexRequest, Settings
from facecli.photos.scan import Scan
from facecli.pipeline.clock import StageClock
from facecli.pipeline.stopping import Stop
from facecli.reporting import Reporter
from facecli.store.writer import IndexWriter
from facecli.types import IndexReport, PhotoFile, Skipped

STRIDE = 64
"""Unchanged files between two updates of the clock and the progress."""
WARN_FACES = 100_000_000
"""The most faces for which a search takes about a second on two cores, with a threshold and a warm disk cache."""


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
        self._choice = EngineChoice(request.options, settings, store, scan.directories)
        self._dispatcher: Dispatcher[FileTask, FileOutcome] | None = None
        self._expectation: Expectation | None = None

    def run(self, reporter: Reporter, stop: Stop, count: Count) -> None:
        """Read new and changed photos, drop missing ones, and leave the index complete.

        `count` finds the photos to read a second time in parallel, so that a long run can estimate its end.
        """
        began = self._clock.now()
        writer = BatchWriter(self._store, self._report, self._clock, self._options.batch_size)
        writer.may_move = self._may_move
        writer.reads_again = self._options.force
        writer.follows_looked_at = self._options.force and not self._settings.migrates
        self._note_roots()
        with stop.finishing():
            self._look(writer, reporter, stop, count)
        if self._scan.ignored:
            reporter.detail(
                "ignored: " + ", ".join(f"{count} {kind}" for kind, count in self._scan.ignored.most_common())
            )
        if not stop():
            look_back(self._store, reporter, stop)
        self._report.interrupted_by = stop()
        if self._report.interrupted_by:
            self._note_roots()
        else:
            self._drop_what_is_gone(writer, reporter)
            self._settle_roots(reporter)
            if self._settings.migrates:
                self._switch(reporter)
            self._finish(reporter)
        self._sum_up(began)

    def _look(self, writer: BatchWriter, reporter: Reporter, stop: Stop, count: Count) -> None:
        """Read all new and changed photos, until the end or until a stop is requested.

        Photos in progress are finished and kept.
        """
        reporter.start("photos", None)
        dispatcher = self._dispatcher = self._open_dispatcher(reporter)
        try:
            begun = stop.at_once(self._begin(reporter, count))
            for result in dispatcher.results(begun, stop):
                if isinstance(result, Skipped):
                    reporter.skip(result)
                if result is not None:
                    writer.take(result, dispatcher.again)
                    self._show_progress(reporter, writer, dispatcher.crew)
            writer.commit()
        except Withdrawn:
            writer.commit()
        except (DeviceError, PackError, UsageError, WorkerError):
            writer.commit()
            raise
        finally:
            if self._expectation is not None:
                self._expectation.end()
            dispatcher.crew.close()
            self._choice.close()
            reporter.stop()

    def _open_dispatcher(self, reporter: Reporter) -> Dispatcher[FileTask, FileOutcome]:
        """The driver's side of the workers, which start at the first photo to read."""
        dimension = self._settings.kind.fingerprint.dimension
        translation = Translation(
            task_record, lambda task, result: read_result(task, result, dimension), give_up, is_doubtful
        )
        crew = Crew(lambda: self._choice.open(reporter), reporter)
        return Dispatcher(crew, translation, reporter, force=self._options.force, chunk=self._options.chunk)

    def _show_progress(self, reporter: Reporter, writer: BatchWriter, crew: Crew) -> None:
        counts = {"faces": writer.faces_found, "skipped": self._report.photos.skipped}
        workers = len(crew.members)
        reporter.advance(1, **counts, **({"workers": workers} if workers > 1 else {}))

    def _begin(self, reporter: Reporter, count: Count) -> Iterator[FileTask | Slot[FileTask, FileOutcome] | None]:
        """Yield the tasks of the workers in the order of the paths, and None between unchanged files."""
        began, idle = self._clock.now(), 0
        for entry in self._agenda:
            if entry is None:
                idle += 1
                if idle < STRIDE:
                    continue
            self._clock.add("scan", busy=self._clock.now() - began)
            if idle:
                reporter.advance(0, unchanged=self._report.photos.unchanged)
            idle = 0
            if isinstance(entry, Pair) and self._expectation is None:
                self._expectation = Expectation(reporter, count)
                self._expectation.begin()
            yield _task_of(entry)
            began = self._clock.now()
        self._clock.add("scan", busy=self._clock.now() - began)

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
        gone, skips = [*verdict.gone, *writer.replaced], verdict.gone_skips
        if gone or skips:
            with self._clock.busy("write"):
                self._report.faces.removed += self._store.prune(gone, skips)
            self._report.photos.removed = len(gone)
        for line in explain(census, verdict) if self._options.prune is not False else ():
            reporter.warn(line)

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
        self._store_roots(root for root in self._store.roots() if root not in moved)

    def _note_roots(self) -> None:
        """Store the roots and the mount points seen so far, so that a run which is cut off goes on without a path.

        Not where the photos of another root may have moved to them, which only the end of a run can tell.
        """
        roots = self._store.roots()
        if not not_visited(roots, self._agenda.census):
            self._store_roots(roots)

    def _store_roots(self, kept: Iterable[str]) -> None:
        census = self._agenda.census
        roots = outermost({*kept, *census.roots})
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
            reporter.warn(f"the index holds {faces:,} faces; above {WARN_FACES:,} a search takes more than a second")

    def _sum_up(self, began: float) -> None:
        """Fill the report."""
        report, info = self._report, self._store.info
        report.photos.total, report.faces.total = info.photos, info.faces
        times = self._clock.times()
        if self._dispatcher is not None:
            self._describe_workers(self._dispatcher)
            for stage, time in self._dispatcher.clock.times().items():
                times[stage].busy_seconds += time.busy_seconds
                times[stage].wait_seconds += time.wait_seconds
        times["write"].wait_seconds = max(
            0.0, self._clock.now() - began - times["write"].busy_seconds - times["scan"].busy_seconds
        )
        report.stages = times

    def _describe_workers(self, dispatcher: Dispatcher[FileTask, FileOutcome]) -> None:
        """Report who found the faces; nothing if no photo needed the models."""
        crew, report = dispatcher.crew, self._report
        if dispatcher.providers:
            report.device, report.provider = crew.device, " + ".join(dispatcher.providers)
            report.jobs, report.devices = crew.jobs, crew.devices
            report.engine, report.workers, report.machines = crew.engine_name, crew.workers, crew.machines


def _task_of(entry: Pair | Skipped | None) -> FileTask | Slot[FileTask, FileOutcome] | None:
    """The task for a file to read; for a file that the scan could not access, its outcome."""
    if entry is None:
        return None
    if isinstance(entry, Skipped):
        return Slot(FileTask(entry.file, None), entry)
    assert isinstance(entry.found, PhotoFile)
    return FileTask(entry.found, entry.known)
