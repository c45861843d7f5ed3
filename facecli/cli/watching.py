"""`facecli index --watch`: index again whenever photos change, until a signal comes."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct, field
from msgspec.structs import replace

from facecli.config import IGNORE_NAME
from facecli.directories import absolute
from facecli.errors import IndexLocked, PhotoError, UsageError
from facecli.indexing.index_photos import index_photos
from facecli.indexing.prune_policy import is_below, outermost
from facecli.indexing.request import IndexRequest
from facecli.photos.kinds import IMAGE, is_hidden, kind_by_name
from facecli.reporting import Reporter, SilentReporter
from facecli.store.reader import open_reader
from facecli.types import IndexReport, Skipped

if TYPE_CHECKING:
    from facecli.pipeline.stopping import Stop

CALM_MS = 1000
"""A run begins when nothing has changed for this long,"""
LONGEST_CALM_MS = 10_000
"""or after this long: a copy of many photos never rests."""
EVERY_SECONDS = 3600.0
"""How often all is compared although nobody reported a change: of disks and other machines not all are."""


class _Once(SilentReporter):
    """Passes on each message of the repeated runs once; shows no progress."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._said: set[str] = set()

    def warn(self, message: str) -> None:
        if message not in self._said:
            self._said.add(message)
            self._reporter.warn(message)

    def detail(self, message: str) -> None:
        self._reporter.detail(message)

    def skip(self, skipped: Skipped) -> None:
        self._reporter.skip(skipped)


class Watching(Struct):
    """A watched index: the directories to watch, and what to do when they change."""

    request: IndexRequest
    reporter: Reporter
    stop: Stop
    finish: Callable[[IndexReport], None]
    """Called with the report of the first run, and of each that changed the index or met new trouble."""
    places: tuple[str, ...] = ()
    again: Reporter = field(default_factory=SilentReporter)

    def run(self) -> int:
        """Index, and again after each change; returns the number of the signal that ended it."""
        try:
            self._begin()
            while not self.stop():
                for _ in self._changes():
                    if self._repeat():
                        break
        except KeyboardInterrupt:
            if not self.stop():
                raise
        return self.stop()

    def _begin(self) -> None:
        self.finish(index_photos(self.request, self.reporter, self.stop))
        with open_reader(self.request.directory) as reader:
            self.places = self.request.roots or reader.roots()
        self.again = _Once(self.reporter)
        if not self.stop():
            self.reporter.warn(f"watching {', '.join(self.places)}; Ctrl-C ends it")

    def _repeat(self) -> bool:
        """Index again; returns whether to end watching or to watch anew."""
        try:
            report = index_photos(replace(self.request, began=None), self.again, self.stop)
        except (IndexLocked, PhotoError) as error:
            # Another command writes, or a disk is away; the next run will see what was missed.
            self.again.warn(str(error))
            return True
        if is_news(report):
            self.finish(report)
        return bool(self.stop())

    def _changes(self) -> Iterator[None]:
        """Yield at once, since photos may have changed before the watch began, then after each change.

        Ends after EVERY_SECONDS, so that disks that came since are watched too.
        """
        from watchfiles import watch  # noqa: PLC0415 (an extra)

        here = [place for place in self.places if os.path.exists(place)]
        ends = time.monotonic() + EVERY_SECONDS
        began = False
        if not here:  # all disks are away
            time.sleep(LONGEST_CALM_MS / 1000)
            yield
            return
        try:
            for changes in watch(
                *here,
                watch_filter=lambda _, path: self.concerns(path),
                debounce=LONGEST_CALM_MS,
                step=CALM_MS,
                rust_timeout=CALM_MS,
                yield_on_timeout=True,
                ignore_permission_denied=True,
            ):
                if changes or not began:
                    yield
                began = True
                if time.monotonic() >= ends:
                    return
        except OSError as error:
            hint = "sysctl fs.inotify.max_user_watches=1000000 allows more directories"
            raise UsageError(f"the directories cannot be watched ({error})", ", ".join(here), hint=hint) from error
        except RuntimeError:
            # A name that is not UTF-8 ends the watch; its change is seen by the next run.
            return

    def concerns(self, path: str) -> bool:
        """Whether a change at a path may change the index."""
        if path == self.request.directory or is_below(path, self.request.directory):
            return False
        base = next((place for place in self.places if is_below(path, place)), "")
        *folders, name = os.fsencode(path[len(base) :]).strip(b"/").split(b"/")
        if any(map(is_hidden, folders)):
            return False
        return name == IGNORE_NAME.encode() or (not is_hidden(name) and kind_by_name(name) in (IMAGE, None))


def is_news(report: IndexReport) -> bool:
    """Whether a run changed the index, or met trouble that no run before it had named."""
    photos = report.photos
    changed = photos.new + photos.changed + photos.moved + photos.removed
    return changed > 0 or any(not skip.known for skip in report.skipped)


def watched_request(request: IndexRequest) -> IndexRequest:
    """The request as it is repeated; raises UsageError where it cannot be."""
    if importlib.util.find_spec("watchfiles") is None:
        raise UsageError("--watch needs the package watchfiles", "facecli index --watch", hint="pip install watchfiles")
    options = request.options
    for name, given in (
        ("a list of photos", request.listed is not None),
        ("--dry-run", options.dry_run),
        ("--force", options.force),
        ("--migrate", options.migrate),
    ):
        if given:
            raise UsageError(f"--watch repeats a run, which {name} does not allow", "facecli index --watch")
    return replace(request, roots=tuple(outermost(map(absolute, request.roots))))
