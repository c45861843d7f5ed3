"""Run an index request and return its report."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from facecli.errors import PhotoError, UsageError
from facecli.indexing.departures import removal_hint
from facecli.indexing.expectation import count_work
from facecli.indexing.parts import membership, settle_part
from facecli.indexing.prune_policy import is_below
from facecli.indexing.rehearsal import Rehearsal
from facecli.indexing.request import IndexRequest, resolve, settle
from facecli.indexing.run import Run
from facecli.photos.scan import Scan
from facecli.pipeline.stopping import Stop
from facecli.reporting import Reporter, SilentReporter
from facecli.store.locate import belongs_to_another, is_index
from facecli.store.new_index import removed_if_unfilled
from facecli.store.reader import open_reader
from facecli.store.records import IndexInfo
from facecli.store.writer import open_writer
from facecli.types import IndexReport
from facecli.vision.devices.select import find_devices
from facecli.wording import counted


class Before(Struct, frozen=True):
    """The state of an index before a run; empty if there is no index yet."""

    info: IndexInfo | None = None
    roots: tuple[str, ...] = ()
    """Empty if the index belongs to another user, who must not choose what is read."""
    strays: tuple[str, ...] = ()
    """For a migration: the paths of photos that lie below no root."""
    excludes: tuple[str, ...] = ()
    """The patterns to exclude that earlier runs were given."""


def index_photos(
    request: IndexRequest, reporter: Reporter | None = None, stop: Callable[[], int] = lambda: 0
) -> IndexReport:
    """Update an index with the requested photos.

    `stop` returns the number of a signal when the run is to stop: photos in progress are finished and kept. A Stop is
    set by a signal handler, and stops the run at once if no photos are in progress. Raises UsageError, PhotoError,
    PackError, DeviceError and StoreError; problems with single photos are in the report.
    """
    stop = stop if isinstance(stop, Stop) else Stop(stop)
    reporter = reporter or SilentReporter()
    began = time.perf_counter() if request.began is None else request.began
    request = resolve(request)
    before = _ask_index(request)
    request = _with_excludes(request, before.excludes)
    part = settle_part(request.options.part, before.info)
    scan = _open_scan(request, before, part)
    settings = settle(request.options, before.info)
    if request.options.device != "auto":
        find_devices(request.options.device)
    is_new = before.info is None
    report = IndexReport(request.directory, settings.kind.fingerprint.model, missing_roots=list(scan.missing_roots))
    if request.options.dry_run:
        if is_new:
            reporter.warn(f"a new index would be made: {request.directory}")
        with nullcontext() if is_new else open_reader(Path(request.directory)) as reader:
            Rehearsal(request.options, scan, reader, report).run(reporter, stop, migrates=settings.migrates)
    else:
        kind = None if settings.migrates else settings.kind
        wait = request.options.wait_seconds
        with (
            removed_if_unfilled(Path(request.directory)),
            open_writer(Path(request.directory), kind, create=is_new, wait_seconds=wait) as store,
        ):
            if is_new:
                reporter.warn(f"a new index: {request.directory}")
            if request.options.migrate:
                store.begin_migration(settings.kind)
            store.keep_excludes(request.options.scan.exclude)
            store.set_part(part)
            Run(request, settings, scan, store, report).run(
                reporter,
                stop,
                lambda enough: count_work(_open_scan(request, before, part), store, request.options, enough),
            )
    kept = () if settings.migrates and request.options.drop_unreachable else before.roots
    for root in report.missing_roots:
        reporter.warn(
            f"no such file or directory: {root}"
            + (f"; its photos are kept: {removal_hint(root)}" if root in kept else "")
        )
    _tell_what_was_passed_over(scan, reporter)
    if not report.photos.seen:
        reporter.warn(f"no photos of part {part} were found there" if part else "no photos were found there")
    report.seconds = time.perf_counter() - began
    return report


def _ask_index(request: IndexRequest) -> Before:
    """The state of the index, if there is one."""
    if not is_index(Path(request.directory)):
        return Before()
    with open_reader(Path(request.directory)) as store:
        if belongs_to_another(Path(request.directory)):
            return Before(store.info, excludes=store.excludes())
        roots = store.roots()
        strays: tuple[str, ...] = ()
        if request.options.migrate:
            everywhere = (*roots, *request.roots)
            strays = tuple(
                p.file.path for p in store.photos() if not any(is_below(p.file.path, root) for root in everywhere)
            )
        return Before(store.info, roots, strays, store.excludes())


def _with_excludes(request: IndexRequest, kept: tuple[str, ...]) -> IndexRequest:
    """The request with the patterns that the index keeps before its own."""
    scan = request.options.scan
    patterns = tuple(dict.fromkeys((*(() if scan.forget_excludes else kept), *scan.exclude)))
    return replace(request, options=replace(request.options, scan=replace(scan, exclude=patterns)))


def _tell_what_was_passed_over(scan: Scan, reporter: Reporter) -> None:
    for root in scan.excluded_roots:
        reporter.warn(f"{root} is excluded; it is indexed because it is named, and leaves with a run over more than it")
    if scan.outputs:
        first = scan.outputs[0].rstrip("/") + (" and others" if len(scan.outputs) > 1 else "")
        reporter.warn(f"{counted(len(scan.outputs), 'folder')} that facecli itself made not read: {first}")
        for folder in scan.outputs:
            reporter.detail(f"not read, made by facecli: {folder}")


def _open_scan(request: IndexRequest, before: Before, part: str) -> Scan:
    """The scan of the given paths, else of the roots of the index; a migration scans both.

    Raises UsageError if there is nothing to scan, and PhotoError if none of the paths exist.
    """
    options = request.options
    roots = request.roots or (before.roots if request.listed is None else ())
    if options.migrate:
        roots = tuple(dict.fromkeys((*request.roots, *before.roots)))
    listed = (*(request.listed or ()), *before.strays)
    if not roots and not listed and request.listed is None:
        if before.info is not None and belongs_to_another(Path(request.directory)):
            hint = f"name them yourself: facecli index -i {request.directory} DIRECTORY…"
            raise UsageError(
                "the index belongs to another user, so its directories are not read",
                request.directory,
                hint=hint,
            )
        raise UsageError(
            "no photos were given, and the index has no directories yet",
            request.directory,
            hint="facecli index DIRECTORY",
        )
    scan = Scan(roots, options.scan, listed=listed, leave_out=(request.directory,), within=before.roots)
    scan.wanted = membership(part, (*roots, *before.roots), before.strays)
    if roots and not listed and len(scan.missing_roots) == len(roots):
        known = [removal_hint(root) for root in scan.missing_roots if root in before.roots]
        raise PhotoError(
            "no such file or directory, so the index is unchanged",
            ", ".join(scan.missing_roots),
            hint="".join(known[:1]),
        )
    return scan
