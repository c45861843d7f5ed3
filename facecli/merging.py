"""Merge indexes: of parts of one collection, of several disks, of several people."""

from __future__ import annotations

import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct, field

from facecli.errors import IndexMissing, UsageError
from facecli.indexing.prune_policy import outermost
from facecli.reporting import Reporter, SilentReporter
from facecli.store.locate import belongs_to_another, is_index, named_directory
from facecli.store.merging.merge import Merge
from facecli.store.new_index import removed_if_unfilled
from facecli.store.reader import IndexReader, open_reader
from facecli.store.records import EmbeddingKind
from facecli.store.writer import IndexWriter, open_writer
from facecli.types import FaceCounts
from facecli.wording import command_on


class MergeRequest(Struct, frozen=True):
    """One merge; paths are absolute."""

    target: str
    """The directory of the index that takes in the others; made where there is none."""
    shards: tuple[str, ...]
    """The directories of the others; their order means nothing."""
    dry_run: bool = False
    wait_seconds: float = 0.0


class MergedPhotos(Struct):
    """Numbers of photos; `seen` is the sum of all others but `total` and `superseded`."""

    seen: int = 0
    """Different paths in the shards."""
    new: int = 0
    changed: int = 0
    """Those whose file was changed after the one that the index had."""
    unchanged: int = 0
    kept_out: int = 0
    """Those that were removed from the index earlier."""
    again: int = 0
    """Those that must be embedded again, left to the next index run."""
    superseded: int = 0
    """Those at whose path another shard has a later state."""
    total: int = 0
    """In the index afterwards."""


class MergeReport(Struct):
    """The report of a merge."""

    index: str
    shards: tuple[str, ...]
    photos: MergedPhotos = field(default_factory=MergedPhotos)
    faces: FaceCounts = field(default_factory=FaceCounts)
    with_decisions: list[str] = field(default_factory=list)
    """The shards in which people have names or other decisions."""
    skipped: int = 0
    """Records of files that could not be read, taken in."""
    seconds: float = 0.0
    interrupted_by: int = 0
    """Number of the signal that stopped the merge early; 0 if none did."""


def merge_indexes(
    request: MergeRequest, reporter: Reporter | None = None, stop: Callable[[], int] = lambda: 0
) -> MergeReport:
    """Take the photos of indexes into one, as if one run had indexed them all.

    Each portion is committed by itself: after a kill or a stop (`stop` gives the number of a signal) the same call goes
    on. Raises UsageError, IndexMissing, IndexMismatch and StoreError before anything is changed, and IndexDamaged where
    a shard turns out to be damaged.
    """
    reporter, began = reporter or SilentReporter(), time.perf_counter()
    target = named_directory(request.target)
    report = MergeReport(str(target), tuple(map(str, _ask_shards(target, request.shards))))
    with ExitStack() as stack:
        shards = [stack.enter_context(open_reader(shard)) for shard in report.shards]
        reporter.start("photos", sum(shard.info.photos for shard in shards))
        try:
            if request.dry_run:
                known = stack.enter_context(open_reader(target)) if is_index(target) else None
                if known is not None:
                    report.photos.total, report.faces.total = known.info.photos, known.info.faces
                _rehearse(Merge(known, shards), report, reporter)
            else:
                with (
                    removed_if_unfilled(target),
                    _open_target(target, shards, request.wait_seconds) as writer,
                    _no_garbage_collection(),
                ):
                    _Merging(writer, shards, report, reporter).run(stop)
        finally:
            reporter.stop()
    report.seconds = time.perf_counter() - began
    return report


def _ask_shards(target: Path, named: Sequence[str]) -> list[Path]:
    """The directories of the shards, each once, sorted.

    Raises UsageError or IndexMissing where one is not an index, or the one that takes in the others.
    """
    shards = sorted({named_directory(name) for name in named}, key=os.fsencode)
    if not shards:
        raise UsageError("nothing to merge", target, hint="facecli merge DEST SHARD…")
    for shard in shards:
        if not is_index(shard):
            raise IndexMissing("there is no index", shard, hint=f"{command_on(shard, 'index')} PHOTOS makes one")
        if target.exists() and target.samefile(shard):
            raise UsageError("an index cannot be merged into itself", shard)
    return shards


def _rehearse(merge: Merge, report: MergeReport, reporter: Reporter) -> None:
    """Count what a merge would do."""
    for plan in merge.plans():
        _count(report.photos, plan.counts)
        reporter.advance(_seen(plan.counts))


def _open_target(target: Path, shards: Sequence[IndexReader], wait_seconds: float) -> IndexWriter:
    """Open the index for writing once nothing stands against the merge; a new one is of the first shard's kind."""
    if is_index(target):
        with open_reader(target) as known:
            Merge(known, shards)
        return open_writer(target, wait_seconds=wait_seconds)
    Merge(None, shards)
    about = shards[0].info
    named = None if belongs_to_another(Path(about.directory)) else about.model_directory
    kind = EmbeddingKind(about.fingerprint, about.licence, named)
    return open_writer(target, kind, create=True, wait_seconds=wait_seconds)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector of cycles from going through millions of rows, none of which is in a cycle.

    It would take a tenth of the time of a merge.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Merging:
    """A merge into an index that is open for writing."""

    def __init__(
        self, writer: IndexWriter, shards: Sequence[IndexReader], report: MergeReport, reporter: Reporter
    ) -> None:
        self._writer, self._shards, self._report, self._reporter = writer, shards, report, reporter

    def run(self, stop: Callable[[], int]) -> None:
        """Take in all photos, or those up to a stop, and then what else the shards know."""
        merge = Merge(self._writer, self._shards)
        self._writer.set_part("")
        for plan in merge.plans():
            done = merge.write(plan.photos, self._writer)
            self._report.faces.added += done.faces_added
            self._report.faces.removed += done.faces_removed
            _count(self._report.photos, plan.counts)
            self._reporter.advance(_seen(plan.counts), faces=self._report.faces.added)
            self._report.interrupted_by = stop()
            if self._report.interrupted_by:
                break
        else:
            self._report.skipped = merge.write_skips(self._writer)
            self._unite_roots()
            self._report.with_decisions = merge.with_decisions()
            self._finish()
        info = self._writer.info
        self._report.photos.total, self._report.faces.total = info.photos, info.faces

    def _unite_roots(self) -> None:
        """Record the roots and mount points of all, and the patterns to exclude where all have the same.

        Those of another user's index are left out: its owner would choose what the next run reads.
        """
        trusted = [self._writer, *(one for one in self._shards if not self._is_foreign(one))]
        roots = outermost({root for one in trusted for root in one.roots()})
        self._writer.set_roots(roots, _mounts(self._writer, trusted[1:]))
        patterns = {one.excludes() for one in trusted[1:]}
        if len(patterns) == 1 and not self._writer.excludes():
            self._writer.keep_excludes(*patterns)

    def _is_foreign(self, shard: IndexReader) -> bool:
        if not belongs_to_another(Path(shard.info.directory)):
            return False
        self._reporter.warn(
            f"the index belongs to another user, so its directories are not updated by facecli index: "
            f"{shard.info.directory}; name them yourself: facecli index DIRECTORY…"
        )
        return True

    def _finish(self) -> None:
        if not self._writer.finish().erased:
            self._reporter.warn(
                "what was replaced is not yet provably erased, because another process reads the index; "
                "the next write finishes it"
            )


def _mounts(known: IndexReader, shards: Iterable[IndexReader]) -> dict[str, int | None]:
    """The mount points of all indexes; the number of a file system only where all that know one agree.

    Another machine may have given the same disk another number.
    """
    numbers: dict[str, set[int]] = {}
    for shard in shards:
        for mount, number in shard.mounts().items():
            numbers.setdefault(mount, set()).update(() if number is None else (number,))
    return {mount: min(found) if len(found) == 1 else None for mount, found in numbers.items()} | known.mounts()


def _count(photos: MergedPhotos, counts: Counter[str]) -> None:
    photos.seen += _seen(counts)
    for kind, count in counts.items():
        setattr(photos, kind, getattr(photos, kind) + count)


def _seen(counts: Counter[str]) -> int:
    return counts.total() - counts["superseded"]
