"""Migration: build a second set of embeddings, of another pack or other settings, and replace the current one."""

from __future__ import annotations

from collections.abc import Iterator

from facecli.errors import StoreError
from facecli.store.catalog.connection import transaction
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.sets import SetRow
from facecli.store.disk.durable import Disk
from facecli.store.maintenance.create import add_set
from facecli.store.maintenance.prepare import OpenedIndex
from facecli.store.maintenance.rebuild import new_mark
from facecli.store.people.following import LostDecision, follow_migration
from facecli.store.records import EmbeddingKind, StoredPhoto
from facecli.store.vector_file import VectorFile
from facecli.store.vector_writer import VectorWriter
from facecli.wording import counted

_LACKING = "photos p WHERE p.set_id = ? AND NOT EXISTS (SELECT 1 FROM photos n WHERE n.set_id = ? AND n.path = p.path)"

_PORTION = 1000
"""The number of photos that one statement deletes."""


class Migration:
    """The steps of a migration of an opened index."""

    def __init__(self, opened: OpenedIndex, disk: Disk) -> None:
        self._opened = opened
        self._catalogue: Catalogue = opened.catalogue
        self._disk = disk
        self.lost_decisions: list[LostDecision] = []
        """Those whose faces the switch did not find again."""

    def begin(self, kind: EmbeddingKind) -> int:
        """The id of the set to write to.

        It is the one that an earlier run began for this kind, or the current one if that is of this kind, or a new one.
        """
        sets = self._catalogue.sets()
        other = sets.get(False)
        if other is not None:
            if not other.fingerprint.differences(kind.fingerprint):
                return other.set_id
            self._drop(other)
        if not sets[True].fingerprint.differences(kind.fingerprint):
            return sets[True].set_id
        return self._add(kind)

    def _add(self, kind: EmbeddingKind) -> int:
        epoch = self._catalogue.number("SELECT last_epoch FROM state") + 1
        file = VectorFile(self._catalogue.directory, epoch, new_mark(epoch), kind.fingerprint.dimension)
        writer = VectorWriter.create(file, self._disk)
        try:
            with transaction(self._catalogue.connection, self._disk, "second set"):
                add_set(self._catalogue, kind, file, current=False)
                self._catalogue.connection.execute("UPDATE state SET last_epoch = ?", (epoch,))
        except BaseException:
            writer.close()
            raise
        set_id = self._catalogue.sets()[False].set_id
        self._opened.vectors[set_id] = writer
        return set_id

    def lacking(self) -> Iterator[StoredPhoto]:
        """The photos of the current set that are missing in the second one, ascending by path."""
        sets = self._catalogue.sets()
        if False in sets:
            query = f"SELECT {self._catalogue.photo_columns} FROM {_LACKING} AND p.path >= ? AND p.path < ?"
            yield from self._catalogue.photos_of(query, (sets[True].set_id, sets[False].set_id))

    def switch(self, *, drop_unreachable: bool) -> int:
        """Replace the current set by the second one in one transaction; returns the number of photos dropped.

        Raises StoreError while photos are missing in the second set, unless `drop_unreachable`.
        """
        sets = self._catalogue.sets()
        if False not in sets:
            return 0
        old, new = sets[True], sets[False]
        left = self._catalogue.number(f"SELECT count(*) FROM {_LACKING}", (old.set_id, new.set_id))
        if left and not drop_unreachable:
            raise StoreError(
                f"{counted(left, 'photo')} could not be reached, so the old embeddings stay in use",
                self._catalogue.directory,
                hint="run it again when they can be read, or drop them with --drop-unreachable",
            )
        self._drop(old, new)
        return left

    def _drop(self, row: SetRow, heir: SetRow | None = None) -> None:
        """Delete a set with all its data; the remaining set becomes the current one.

        Groups and decisions about people go to the faces of the heir.
        """
        connection = self._catalogue.connection
        with transaction(connection, self._disk, "switch"):
            if heir is not None:
                self.lost_decisions = follow_migration(self._catalogue, row.set_id, heir.set_id)
            # In portions, since SQLite keeps the changes of a statement in memory until it ends.
            some = f"SELECT photo_id FROM photos WHERE set_id = ? LIMIT {_PORTION}"
            while connection.execute(f"DELETE FROM photos WHERE photo_id IN ({some})", (row.set_id,)).rowcount:
                pass
            connection.execute("DELETE FROM holes WHERE set_id = ?", (row.set_id,))
            connection.execute("DELETE FROM sets WHERE set_id = ?", (row.set_id,))
            connection.execute("UPDATE sets SET current = 1")
            connection.execute("UPDATE state SET generation = generation + 1")
        self._opened.vectors.pop(row.set_id).close()
        for file in (row.file, row.file.compact):
            self._disk.unlink(file.path, "old vectors")
        self._disk.sync_directory(row.file.directory)
