"""An index that is written, under its lock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from facecli.errors import StoreError
from facecli.store.atomic import Disk, Step, no_step
from facecli.store.catalog import Catalogue
from facecli.store.commit import BatchCommit, code_array
from facecli.store.connection import connect, transaction
from facecli.store.erasure import dirty, erase
from facecli.store.failures import explained
from facecli.store.lock import WriterLock
from facecli.store.opening import Opened, make_directory, make_private, prepare
from facecli.store.reading import IndexReader
from facecli.store.rebuild import rebuild
from facecli.store.records import Batch, Committed, EmbeddingKind, Finished
from facecli.store.traces import Traces


class IndexWriter(IndexReader):
    """An index that is written, under its lock. Only one thread calls the methods that write; its reading methods see what is committed."""

    def __init__(self, opened: Opened, reading: Catalogue, lock: WriterLock, disk: Disk) -> None:
        super().__init__(reading, keeps_state=False)
        self._opened = opened
        self._writing = opened.catalogue
        self._lock = lock
        self._disk = disk
        self._traces = Traces()

    def close(self) -> None:
        """Let go of the index and its lock."""
        try:
            super().close()
            with explained(self._writing.path):
                self._opened.close()
        finally:
            self._lock.release()

    def commit(self, batch: Batch) -> Committed:
        """Make a batch durable. Faces that are the same as before (IoU >= 0.9, cosine >= 0.98) keep their ids.

        The codes are durable in the vector file before the transaction that names them: it may be longer than the catalogue says,
        never shorter.
        """
        set_id = self._writing.set_id
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "batch"):
            row = next(row for row in self._writing.sets().values() if row.set_id == set_id)
            work = BatchCommit(self._writing, row, self._traces)
            done = work.apply(batch)
            if work.codes:
                self._opened.vectors[set_id].put(row.slots, code_array(work.codes, row.file.dimension))
                self._opened.vectors[set_id].set_count(row.slots + len(work.codes))
                self._writing.connection.execute("UPDATE sets SET slots = slots + ? WHERE set_id = ?", (len(work.codes), set_id))
            self._writing.connection.execute("UPDATE state SET generation = generation + 1")
        return done

    def prune(self, photo_ids: Sequence[int], skipped_paths: Sequence[str] = ()) -> int:
        """Drop photos, and the records of skipped files, that are gone; the number of faces dropped. Erased by `finish`."""
        if not photo_ids and not skipped_paths:
            return 0
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "prune"):
            work = BatchCommit(self._writing, self._writing.sets()[True], self._traces)
            dropped = sum(work.drop_photo(photo_id) for photo_id in photo_ids)
            work.drop_skips(skipped_paths)
            self._writing.connection.execute("UPDATE state SET generation = generation + 1")
        return dropped

    def set_roots(self, roots: Sequence[str], mounts: Sequence[str]) -> None:
        """Remember these roots and mount points in place of all earlier ones."""
        pack = self._writing.paths.pack
        wanted = {(pack(root), 0) for root in roots} | {(pack(mount), 1) for mount in mounts}
        if wanted == set(self._writing.rows("SELECT path, mount FROM roots")):
            return
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "roots"):
            self._writing.connection.execute("DELETE FROM roots")
            self._writing.connection.executemany("INSERT INTO roots (path, mount) VALUES (?, ?)", sorted(wanted))

    def finish(self, wait_readers: float = 0.0) -> Finished:
        """End a run: erase provably what was dropped, and rebuild the vector file where over a fifth of it is holes."""
        rebuilt = False
        with explained(self._writing.path):
            for row in self._writing.sets().values():
                if dirty(row, self._writing):
                    self._opened.vectors.pop(row.set_id).close()
                    self._opened.vectors[row.set_id] = rebuild(self._writing, self._disk, row)
                    rebuilt = True
        return Finished(self._erase(wait_readers), rebuilt)

    def _erase(self, wait_readers: float) -> bool:
        if not self._writing.number("SELECT pending FROM state"):
            return True
        erased = erase(self._writing, self._disk, self._opened.vectors, self._traces, wait_readers)
        self._traces = Traces(complete=erased)
        return erased


def open_writer(
    directory: Path, kind: EmbeddingKind | None = None, *, create: bool = False, wait_seconds: float = 0.0, at: Step = no_step
) -> IndexWriter:
    """Lock an index for writing; `create` makes one of `kind` where there is none.

    Raises IndexMismatch where `kind` is given and the index is of another; IndexLocked where another process writes for longer than
    `wait_seconds`. `at` is called before and after each step to the disk, for tests.
    """
    if create and kind is None:
        raise StoreError("an index is made with a kind of embeddings", directory)
    disk = Disk(at)
    with explained(directory):
        if create:
            make_directory(directory)
        lock = WriterLock(directory)
        lock.acquire(wait_seconds)
    try:
        with explained(directory):
            make_private(directory)
        writer = _open_locked(directory, kind, lock, disk, create=create)
    except BaseException:
        lock.release()
        raise
    return writer


def _open_locked(directory: Path, kind: EmbeddingKind | None, lock: WriterLock, disk: Disk, *, create: bool) -> IndexWriter:
    opened = prepare(directory, disk, kind, create=create)
    try:
        with explained(opened.catalogue.path):
            reading = Catalogue(connect(opened.catalogue.path, mode="ro"), directory)
        reading.set_id = opened.catalogue.set_id
        writer = IndexWriter(opened, reading, lock, disk)
        writer._traces.complete = False  # noqa: SLF001 (what an earlier writer deleted is not on record)
        writer._erase(0.0)  # noqa: SLF001 (as above)
        writer._traces = Traces()  # noqa: SLF001 (as above)
    except BaseException:
        opened.close()
        raise
    return writer
