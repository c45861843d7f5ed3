"""Write a set's vector file and its compact file, under the writer's lock."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

import numpy as np

from facecli.store.disk.durable import Disk, create_private
from facecli.store.short_codes import encode
from facecli.store.vector_file import BLOCK, Codes, ShortCodes, VectorFile

BESIDE = ".new"
COMPACT_FROM = 150_000
"""The number of slots from which a set has a compact file: below, searches compare all embeddings as fast."""
LAG = 1 << 14
"""How many slots the compact file may lag behind while an index grows."""


class VectorWriter:
    """A file of codes opened for writing, under the writer's lock."""

    def __init__(self, file: VectorFile, disk: Disk, descriptor: int, count: int = 0) -> None:
        self.file = file
        self.count = count
        """The number of codes that are valid."""
        self.compact: VectorWriter | None = None
        """The compact file beside a vector file, where there is one."""
        self._disk = disk
        self._descriptor = descriptor

    @classmethod
    def create(cls, file: VectorFile, disk: Disk, blocks: Iterable[Codes] | Iterable[ShortCodes] = ()) -> VectorWriter:
        """Write a new file with these blocks of codes under a temporary name, and rename it into place.

        It is durable on return, and replaces any file of that name.
        """
        beside = file.path.with_name(file.path.name + BESIDE)
        disk.unlink(beside, "leftover vectors")
        writer = cls(file, disk, create_private(beside))
        try:
            count = 0
            for block in blocks:
                writer.put(count, block)
                count += len(block)
            writer.set_count(count)
            disk.replace(beside, file.path, "vectors")
            disk.sync_directory(file.directory)
        except BaseException:
            writer.close()
            raise
        return writer

    @classmethod
    def open(cls, file: VectorFile, disk: Disk, slots: int) -> VectorWriter:
        """Open the file; raises VectorsDamaged where it is not complete, OSError where it cannot be opened."""
        descriptor = file.open(write=True)
        try:
            count = file.check(descriptor, file.least(slots))
        except BaseException:
            os.close(descriptor)
            raise
        return cls(file, disk, descriptor, count)

    def close(self) -> None:
        if self.compact is not None:
            self.compact.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def put(self, slot: int, codes: Codes | ShortCodes) -> None:
        """Write codes from `slot` on; they become valid with `set_count`."""
        data = np.ascontiguousarray(codes, self.file.form.dtype)
        self._disk.write(self._descriptor, data.reshape(-1).view(np.uint8).data, self.file.place(slot), "codes")

    def set_count(self, count: int) -> None:
        """Sync the codes, then write the whole header with the new count in one write, and sync it."""
        self._disk.sync(self._descriptor, "codes")
        self._disk.write(self._descriptor, self.file.header(count), 0, "header")
        self._disk.sync(self._descriptor, "header")
        self.count = count

    def zero(self, slots: Iterable[int]) -> None:
        """Overwrite slots with zeros, here and in the compact file, and sync."""
        slots = list(slots)
        if self.compact is not None:
            self.compact.zero(slot for slot in slots if slot < self.compact.count)
        done = False
        for first, count in _runs(slots):
            for start in range(first, first + count, 4096):
                length = min(4096, first + count - start) * self.file.code_size
                self._disk.write(self._descriptor, bytes(length), self.file.place(start), "zeros")
            done = True
        if done:
            self._disk.sync(self._descriptor, "zeros")

    def is_behind(self, slots: int) -> bool:
        """Whether the compact file lags so far behind that it should catch up before the run ends."""
        return slots >= COMPACT_FROM and slots - (self.compact.count if self.compact else 0) >= LAG

    def catch_up(self, slots: int) -> bool:
        """Add the codes that the compact file lacks of the first `slots` slots; make the file where it is missing.

        Returns whether it was made. A set of few slots has none.
        """
        if slots < COMPACT_FROM and self.compact is None:
            return False
        codes = self.file.read(slots)
        if self.compact is None:
            short = (encode(block) for _, block in codes.blocks())
            self.compact = VectorWriter.create(self.file.compact, self._disk, short)
            return True
        if self.compact.count < slots:
            for first, block in codes.blocks(self.compact.count):
                self.compact.put(first, encode(block))
            self.compact.set_count(slots)
        return False

    def clear_tail(self, slots: int) -> None:
        """Overwrite everything beyond `slots` with zeros, and sync: the codes of a batch that was never committed."""
        start, end = self.file.place(slots), os.fstat(self._descriptor).st_size
        dirty = [at for at in range(start, end, BLOCK) if any(os.pread(self._descriptor, min(BLOCK, end - at), at))]
        for at in dirty:
            self._disk.write(self._descriptor, bytes(min(BLOCK, end - at)), at, "tail")
        if dirty:
            self._disk.sync(self._descriptor, "tail")


def _runs(slots: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Group slots into runs of consecutive ones: the first slot and the length of each."""
    first = count = 0
    for slot in sorted(slots):
        if count and slot == first + count:
            count += 1
            continue
        if count:
            yield first, count
        first, count = slot, 1
    if count:
        yield first, count
