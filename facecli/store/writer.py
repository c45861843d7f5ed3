"""Write access to an index, under its lock."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from facecli.captures import Capture
from facecli.config import WAIT_READERS
from facecli.errors import IndexMissing, StoreError
from facecli.store.catalog.connection import CATALOGUE, connect, refuse_links, transaction
from facecli.store.catalog.rows import CAPTURE, PhotoRow, capture_values
from facecli.store.disk.crash_journal import JOURNAL, CrashJournal
from facecli.store.disk.durable import Disk, Step, no_step
from facecli.store.disk.lock import LOCK, WriterLock
from facecli.store.errors import explained
from facecli.store.locate import MAKE_ONE, is_index
from facecli.store.maintenance.create import make_index_directory, make_private
from facecli.store.maintenance.prepare import OpenedIndex, prepare
from facecli.store.maintenance.rebuild import rebuild
from facecli.store.people.following import LostDecision
from facecli.store.people.writing import PeopleWriter
from facecli.store.reader import IndexReader
from facecli.store.records import Batch, Committed, EmbeddingKind, Finished, Removal, StoredPhoto
from facecli.store.write.commit import BatchCommit, code_array
from facecli.store.write.deletion import Deletions
from facecli.store.write.erasure import dirty, erase
from facecli.store.write.reembedding import Migration
from facecli.store.write.removal import RemovalWork
from facecli.store.write.residue import Residue
from facecli.types import PhotoFile


class IndexWriter(IndexReader):
    """An index opened for writing, under its lock.

    Only one thread may call the methods that write. The reading methods see the last committed state.
    """

    def __init__(self, opened: OpenedIndex, reading: sqlite3.Connection, lock: WriterLock, disk: Disk) -> None:
        super().__init__(reading, opened.catalogue.directory, keeps_state=False)
        self.set_id = opened.catalogue.set_id
        self._opened = opened
        self._writing = opened.catalogue
        self._writer_lock = lock
        self._disk = disk
        self._traces = Residue()
        self._migration = Migration(opened, disk)

    def close(self) -> None:
        """Close the index and release its lock."""
        try:
            super().close()
            with explained(self._writing.path):
                self._opened.close()
        finally:
            self._writer_lock.release()

    @property
    def people(self) -> PeopleWriter:
        """The people, to read and to change."""
        return PeopleWriter(self, self._writing, self._disk, self._lost_name)

    def _lost_name(self, name: bytes) -> None:
        """Record that a name was deleted; `finish` erases it."""
        Deletions(self._writing, self._traces).lost(name)

    @property
    def mended(self) -> list[str]:
        """Messages about what was repaired when the index was opened."""
        return self._opened.mended

    def open_journal(self) -> CrashJournal:
        """Open the journal in which a run records what it is decoding, so that after a crash the next run knows."""
        with explained(self._writing.path):
            return CrashJournal(self._writing.directory, self.token)

    def commit(self, batch: Batch) -> Committed:
        """Commit a batch durably; faces that are the same as before (IoU >= 0.9, cosine >= 0.98) keep their ids.

        The codes are synced to the vector file before the transaction that refers to them is committed, so that file
        may be longer than the catalogue says, never shorter.
        """
        return self._write(lambda work: work.apply(batch))

    def take_in(self, photos: Sequence[PhotoRow]) -> Committed:
        """Commit photos of another index durably, as `commit` does."""
        return self._write(lambda work: work.store(photos))

    def _write(self, write: Callable[[BatchCommit], None]) -> Committed:
        """Run `write` in a transaction, together with the vectors of the faces that it adds."""
        set_id = self._writing.set_id
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "batch"):
            row = next(row for row in self._writing.sets().values() if row.set_id == set_id)
            work = BatchCommit(self._writing, row, self._traces)
            write(work)
            if work.codes:
                self._opened.vectors[set_id].put(row.slots, code_array(work.codes, row.file.dimension))
                self._opened.vectors[set_id].set_count(row.slots + len(work.codes))
                self._writing.connection.execute(
                    "UPDATE sets SET slots = slots + ? WHERE set_id = ?", (len(work.codes), set_id)
                )
            self._raise_generation()
        with explained(self._writing.path):
            slots = row.slots + len(work.codes)
            if self._opened.vectors[set_id].is_behind(slots):
                self._opened.vectors[set_id].catch_up(slots)
        return work.result()

    def note_changes(self, files: Sequence[PhotoFile]) -> None:
        """Record ctime and inode of unchanged files where an older facecli did not."""
        if not files:
            return
        pack, mine = self._writing.paths.pack, self._writing.set_id
        rows = [(file.ctime_ns, file.inode, pack(file.path)) for file in files]
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "changes"):
            query = "SET ctime_ns = ?, inode = ? WHERE path = ? AND ctime_ns IS NULL"
            self._writing.connection.executemany(f"UPDATE photos {query} AND set_id = {mine:d}", rows)
            self._writing.connection.executemany(f"UPDATE skips {query}", rows)

    def note_captures(self, captures: Sequence[tuple[int, Capture]]) -> None:
        """Record when and where photos were taken, by their ids, where that is not on record."""
        names = " = ?, ".join(CAPTURE)
        rows = [(*capture_values(capture), photo_id) for photo_id, capture in captures]
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "captures"):
            query = f"UPDATE photos SET {names} = ? WHERE photo_id = ? AND looked IS NULL"
            self._writing.connection.executemany(query, rows)
            self._raise_generation()

    def prune(self, photo_ids: Sequence[int], skipped_paths: Sequence[str] = (), *, forget_people: bool = False) -> int:
        """Drop photos and records of skipped files that no longer exist; returns the number of faces dropped.

        `finish` erases them. Decisions about their people are kept for their return, unless `forget_people`.
        """
        if not photo_ids and not skipped_paths:
            return 0
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "prune"):
            deletions = Deletions(self._writing, self._traces)
            for photo_id in photo_ids:
                deletions.drop_path_of(photo_id, forget_people=forget_people)
            for path in skipped_paths:
                deletions.drop_skip(self._writing.paths.pack(path))
            self._raise_generation()
        return deletions.faces

    def drop_roots(self, places: Sequence[str], photo_ids: Sequence[int], skipped_paths: Sequence[str]) -> int:
        """Drop roots or mount points with these photos and skipped files; returns the number of faces dropped.

        They are not recorded as removed, so indexing the roots again adds them again. `finish` erases them.
        """
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "root"):
            deletions, pack = Deletions(self._writing, self._traces), self._writing.paths.pack
            for photo_id in photo_ids:
                deletions.drop_path_of(photo_id, forget_people=True)
            for path in skipped_paths:
                deletions.drop_skip(pack(path))
            for place in places:
                deletions.drop_root(pack(place))
            self._raise_generation()
        return deletions.faces

    def remove(self, removal: Removal, wait_readers: float = WAIT_READERS) -> bool:
        """Remove photos and faces for good; returns whether all their data is verified to be erased.

        It is not where a reader keeps an older state open for longer than `wait_readers` seconds; the next writer then
        finishes the erasure.
        """
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "removal"):
            RemovalWork(self._writing, Deletions(self._writing, self._traces)).carry_out(removal)
            self._raise_generation()
        return self.finish(wait_readers).erased

    def let_back(self, digests: Sequence[bytes], face_ids: Sequence[int]) -> int:
        """Allow removed contents and faces again, from the next run over their files; returns the number of records."""
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "forgetting"):
            count = RemovalWork(self._writing, Deletions(self._writing, self._traces)).let_back(digests, face_ids)
            if count:
                self._raise_generation()
        return count

    def let_all_back(self) -> int:
        """Allow everything that was removed again; returns the number of records."""
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "forgetting"):
            count = RemovalWork(self._writing, Deletions(self._writing, self._traces)).let_all_back()
            if count:
                self._raise_generation()
        return count

    def _raise_generation(self) -> None:
        self._writing.connection.execute("UPDATE state SET generation = generation + 1")

    def set_roots(self, roots: Sequence[str], mounts: Mapping[str, int | None]) -> None:
        """Replace the recorded roots and mount points by these."""
        pack = self._writing.paths.pack
        wanted = {(pack(root), 0, None) for root in roots} | {
            (pack(mount), 1, number) for mount, number in mounts.items()
        }
        if wanted == set(self._writing.rows("SELECT path, mount, file_system FROM roots")):
            return
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "roots"):
            self._writing.connection.execute("DELETE FROM roots")
            self._writing.connection.executemany(
                "INSERT INTO roots (path, mount, file_system) VALUES (?, ?, ?)", wanted
            )

    def keep_excludes(self, patterns: Sequence[str]) -> None:
        """Replace the patterns to exclude that later runs use."""
        if tuple(patterns) == self._writing.excludes():
            return
        with explained(self._writing.path), transaction(self._writing.connection, self._disk, "excludes"):
            self._writing.connection.execute("DELETE FROM excludes")
            self._writing.connection.executemany(
                "INSERT INTO excludes (pattern) VALUES (?)", [(pattern,) for pattern in patterns]
            )

    def set_part(self, part: str) -> None:
        """Record the part of the photos that the index is restricted to; empty for all."""
        if part != self._writing.part():
            with explained(self._writing.path), transaction(self._writing.connection, self._disk, "part"):
                self._writing.connection.execute("UPDATE state SET part = ?", (part or None,))

    def begin_migration(self, kind: EmbeddingKind) -> None:
        """Start or resume a migration: all photos are embedded again as `kind`, into a new set.

        Searches use the current set until the switch. From here on `under`, `at`, `with_digest`, `load` and `commit`
        act on the new set. Where the index is of this kind already, there is nothing to migrate.
        """
        with explained(self._writing.path):
            self._writing.set_id = self.set_id = self._migration.begin(kind)

    def unmigrated(self) -> Iterator[StoredPhoto]:
        """The photos of the old set that are missing in the new one, ascending by path."""
        return self._migration.lacking()

    def finish_migration(self, *, drop_unreachable: bool) -> int:
        """Switch to the new set in one transaction; returns the number of photos dropped.

        Decisions about people go to the faces of the new set; `lost_decisions` has those that found none. Raises
        StoreError while some photos are not migrated, unless `drop_unreachable`.
        """
        with explained(self._writing.path):
            dropped = self._migration.switch(drop_unreachable=drop_unreachable)
            self._writing.set_id = self.set_id = self._writing.sets()[True].set_id
        self._traces.complete = False
        return dropped

    @property
    def lost_decisions(self) -> list[LostDecision]:
        """The decisions about people whose faces a migration did not find again."""
        return self._migration.lost_decisions

    def finish(self, wait_readers: float = 0.0) -> Finished:
        """End a run: erase dropped data verifiably, rebuild a vector file of which over a fifth is holes.

        The compact file of each set catches up with its vector file.
        """
        rebuilt = False
        with explained(self._writing.path):
            for row in self._writing.sets().values():
                if dirty(row, self._writing):
                    self._opened.vectors.pop(row.set_id).close()
                    self._opened.vectors[row.set_id] = rebuild(self._writing, self._disk, row)
                    rebuilt = True
            erased = self._erase(wait_readers)
            for row in self._writing.sets().values():
                self._opened.vectors[row.set_id].catch_up(row.slots)
        return Finished(erased, rebuilt)

    def settle(self) -> None:
        """Finish the erasure that an earlier writer left pending.

        There is no record of what it deleted, so the whole catalogue is rewritten.
        """
        self._traces.complete = False
        self._traces = Residue(complete=self._erase(0.0))

    def _erase(self, wait_readers: float) -> bool:
        if not self._writing.number("SELECT pending FROM state"):
            return True
        erased = erase(self._writing, self._disk, self._opened.vectors, self._traces, wait_readers)
        self._traces = Residue(complete=erased)
        return erased


def open_writer(
    directory: Path,
    kind: EmbeddingKind | None = None,
    *,
    create: bool = False,
    wait_seconds: float = 0.0,
    at: Step = no_step,
) -> IndexWriter:
    """Lock an index for writing; `create` creates one of `kind` where there is none.

    Raises IndexMismatch where the index is of another kind than `kind`, IndexLocked where another process holds the
    lock for longer than `wait_seconds`. `at` is called before and after each disk operation, for tests.
    """
    if create and kind is None:
        raise StoreError("creating an index needs a kind of embeddings", directory)
    with explained(directory):
        if create:
            make_index_directory(directory)
        elif not is_index(directory):
            raise IndexMissing("there is no index", directory, hint=MAKE_ONE)
    return _open(directory, Disk(at), wait_seconds, lambda disk: prepare(directory, disk, kind, create=create))


def repair_index(directory: Path, *, wait_seconds: float = 0.0, at: Step = no_step) -> list[str]:
    """Repair an index, and return messages about what was done.

    Derived data is rebuilt; damaged photos are marked to be embedded again.
    """
    if not is_index(directory):
        raise IndexMissing("there is no index", directory, hint=MAKE_ONE)
    with _open(directory, Disk(at), wait_seconds, lambda disk: prepare(directory, disk, None, repair=True)) as writer:
        writer.finish()
        return writer.mended


def _open(directory: Path, disk: Disk, wait_seconds: float, prepared: Callable[[Disk], OpenedIndex]) -> IndexWriter:
    """Take the lock and open the index."""
    lock = WriterLock(directory)
    with explained(directory):
        refuse_links(directory, (CATALOGUE, LOCK, JOURNAL))
        lock.acquire(wait_seconds)
    try:
        with explained(directory):
            make_private(directory)
        opened = prepared(disk)
        try:
            return _begin(opened, lock, disk)
        except BaseException:
            opened.close()
            raise
    except BaseException:
        lock.release()
        raise


def _begin(opened: OpenedIndex, lock: WriterLock, disk: Disk) -> IndexWriter:
    with explained(opened.catalogue.path):
        reading = connect(opened.catalogue.path, mode="ro")
    try:
        writer = IndexWriter(opened, reading, lock, disk)
        writer.settle()
    except BaseException:
        reading.close()
        raise
    return writer
