"""One merge: the shards that are read, and the index that takes in their photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from facecli.store.catalog.schema import PEOPLE_FROM
from facecli.store.merging.order import CHUNK_PHOTOS, Arriving, arriving, chunks, skipped_files
from facecli.store.merging.reconcile import Plan, new_skips, plan, refuse, rows_to_write
from facecli.store.reader import IndexReader
from facecli.store.records import Batch, Committed
from facecli.store.writer import IndexWriter


class Merge:
    """The photos and skipped files of shards, for an index or, where there is none yet, for an empty one.

    The order of the shards decides between photos at one path whose files were changed at the same time. Raises
    IndexMismatch or StoreError where the indexes cannot be merged, IndexDamaged where a shard is damaged.
    """

    def __init__(self, target: IndexReader | None, shards: Sequence[IndexReader]) -> None:
        self._target = target
        self._shards = list(shards)
        refuse(self._target, self._shards)

    def plans(self) -> Iterator[Plan]:
        """What each portion brings; the next is to be asked for when the one before is written."""
        return (plan(self._target, chunk) for chunk in chunks(arriving(self._shards)))

    def write(self, photos: Sequence[Arriving], writer: IndexWriter) -> Committed:
        """Write the photos of a plan in one transaction."""
        return writer.take_in(rows_to_write(writer, self._shards, photos)) if photos else Committed()

    def with_decisions(self) -> list[str]:
        """The directories of the shards with names of people and decisions about them, which are not merged."""
        known = [shard for shard in self._shards if shard.version >= PEOPLE_FROM]
        query = "SELECT EXISTS (SELECT 1 FROM decisions)"
        return [str(shard.directory) for shard in known if shard.number(query)]

    def write_skips(self, writer: IndexWriter) -> int:
        """Record the skipped files after the photos; returns how many."""
        count = 0
        some = []
        for skip in new_skips(writer, skipped_files(self._shards)):
            some.append(skip)
            count += 1
            if len(some) == CHUNK_PHOTOS:
                writer.commit(Batch(skips=tuple(some)))
                some = []
        if some:
            writer.commit(Batch(skips=tuple(some)))
        return count
