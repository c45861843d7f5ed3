"""The vector file: a FAISS index of float16 codes (IndexScalarQuantizer, inner product) that only grows.

Its bytes are written and checked here; FAISS reads it, and never writes it. Byte 8 holds the number of vectors, byte 73
the length of the codes, the codes follow at byte 81. Bytes 16 to 31, which FAISS ignores, hold the mark that the
catalogue knows the file by.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.errors import IndexDamaged
from facecli.store.disk.durable import Disk, create_private

Codes = NDArray[np.float16]
"""float16, little-endian, (n, d): embeddings as they stand in the catalogue and in the vector file."""

HEADER = struct.Struct("<4siq16sBiiifqqqq")
_TRAINED, _INNER_PRODUCT, _FP16 = 1, 0, 4
BESIDE = ".new"
BLOCK = 4 << 20
"""Bytes that are read at once."""
_SCANNED = 512 << 10
"""Bytes that a scan reads at once: so few stay in a processor's cache until they are compared."""


class VectorsDamaged(IndexDamaged):
    """The vector file is not the one that the catalogue describes; the catalogue answers without it."""


class VectorFile(Struct, frozen=True):
    """The name, mark and shape of a set's vector file, as the catalogue has them."""

    directory: Path
    epoch: int
    mark: bytes
    dimension: int

    @property
    def path(self) -> Path:
        return self.directory / f"vectors-{self.epoch}.faiss"

    @property
    def code_size(self) -> int:
        return 2 * self.dimension

    def place(self, slot: int) -> int:
        """The offset of a slot's code."""
        return HEADER.size + slot * self.code_size

    def header(self, count: int) -> bytes:
        """The header of a file that holds `count` vectors."""
        d, size = self.dimension, self.code_size
        return HEADER.pack(
            b"IxSQ", d, count, self.mark, _TRAINED, _INNER_PRODUCT, _FP16, 0, 0.0, d, size, 0, count * size
        )

    def open(self, *, write: bool = False) -> int:
        """Open the file, never through a symbolic link; the descriptor."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self.path, flags)

    def check(self, descriptor: int, slots: int) -> int:
        """The number of vectors in an open file; raises IndexDamaged unless it is this file, whole, with at least `slots`."""
        head, size = os.pread(descriptor, HEADER.size, 0), os.fstat(descriptor).st_size
        if len(head) < HEADER.size:
            raise VectorsDamaged("the vector file ends within its header", self.path)
        count = int.from_bytes(head[8:16], "little", signed=True)
        if not 0 <= count < 1 << 40 or head != self.header(count):
            raise VectorsDamaged("the header of the vector file is not the one that the catalogue knows", self.path)
        if count < slots or size < self.place(count):
            raise VectorsDamaged(f"the vector file is too short for {max(slots, count)} vectors", self.path)
        return count

    def read(self, slots: int) -> StoredCodes:
        """The codes of the first `slots` slots, to be read; raises VectorsDamaged, or OSError where the file is not there."""
        descriptor = self.open()
        try:
            self.check(descriptor, slots)
        except BaseException:
            os.close(descriptor)
            raise
        return StoredCodes(self, descriptor, slots)


class StoredCodes:
    """The codes of an open vector file; usable from any thread.

    They are read, not mapped into memory: should something cut the file meanwhile, that is an error, where a mapping
    would end the process.
    """

    def __init__(self, file: VectorFile, descriptor: int, slots: int) -> None:
        self._file, self._descriptor, self._slots = file, descriptor, slots

    def __len__(self) -> int:
        return self._slots

    def __del__(self) -> None:
        os.close(self._descriptor)

    def check(self) -> None:
        """Raise VectorsDamaged where the file is not whole any more."""
        self._file.check(self._descriptor, self._slots)

    def code(self, slot: int) -> bytes:
        """The bytes of one slot."""
        return self.block(slot, 1).tobytes()

    def block(self, first: int, count: int) -> Codes:
        """The codes (count, d) from a slot on."""
        return self._fill(np.empty((count, self._file.dimension), "<f2"), first)

    def blocks(self) -> Iterator[tuple[int, Codes]]:
        """All codes in blocks, each with its first slot, and each valid until the next one is asked for."""
        step = max(1, _SCANNED // self._file.code_size)
        room = np.empty((min(step, self._slots), self._file.dimension), "<f2")
        for first in range(0, self._slots, step):
            yield first, self._fill(room[: self._slots - first], first)

    def at(self, slots: NDArray[np.int64]) -> Codes:
        """The codes (n, d) of some slots: each by itself where they are few, all of the file where they are many."""
        found = np.empty((len(slots), self._file.dimension), "<f2")
        if len(slots) * 8 < self._slots:
            for i, slot in enumerate(slots.tolist()):
                self._fill(found[i : i + 1], slot)
            return found
        order = np.argsort(slots, kind="stable")
        for first, codes in self.blocks():
            start, end = np.searchsorted(slots, (first, first + len(codes)), sorter=order).tolist()
            chosen = order[start:end]
            found[chosen] = codes[slots[chosen] - first]
        return found

    def _fill(self, into: Codes, first: int) -> Codes:
        """Read the codes (n, d) from a slot on into an array."""
        room = into.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(room):
            read = os.preadv(self._descriptor, [room[done:]], self._file.place(first) + done)
            if not read:
                raise VectorsDamaged("the vector file was cut while it was read", self._file.path)
            done += read
        return into


class VectorWriter:
    """A vector file that is written, under the writer's lock."""

    def __init__(self, file: VectorFile, disk: Disk, descriptor: int) -> None:
        self.file = file
        self._disk = disk
        self._descriptor = descriptor

    @classmethod
    def create(cls, file: VectorFile, disk: Disk, blocks: Iterable[Codes] = ()) -> VectorWriter:
        """Make the file with these codes, durable under its name, in place of what stands there: written beside, then renamed."""
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
        """Open the file; raises IndexDamaged where it is not whole, OSError where it is not there."""
        descriptor = file.open(write=True)
        try:
            file.check(descriptor, slots)
        except BaseException:
            os.close(descriptor)
            raise
        return cls(file, disk, descriptor)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def put(self, slot: int, codes: Codes) -> None:
        """Write codes from `slot` on; they count only after `set_count`."""
        data = np.ascontiguousarray(codes, "<f2")
        self._disk.write(self._descriptor, data.reshape(-1).view(np.uint8).data, self.file.place(slot), "codes")

    def set_count(self, count: int) -> None:
        """Make the codes durable, and then the counts, by one write of the whole header."""
        self._disk.sync(self._descriptor, "codes")
        self._disk.write(self._descriptor, self.file.header(count), 0, "header")
        self._disk.sync(self._descriptor, "header")

    def zero(self, slots: Iterable[int]) -> None:
        """Overwrite slots with zeros, durably."""
        done = False
        for first, count in _runs(slots):
            for start in range(first, first + count, 4096):
                length = min(4096, first + count - start) * self.file.code_size
                self._disk.write(self._descriptor, bytes(length), self.file.place(start), "zeros")
            done = True
        if done:
            self._disk.sync(self._descriptor, "zeros")

    def clear_tail(self, slots: int) -> None:
        """Overwrite everything beyond `slots` with zeros, durably: what a batch left that never was committed."""
        start, end = self.file.place(slots), os.fstat(self._descriptor).st_size
        dirty = [at for at in range(start, end, BLOCK) if any(os.pread(self._descriptor, min(BLOCK, end - at), at))]
        for at in dirty:
            self._disk.write(self._descriptor, bytes(min(BLOCK, end - at)), at, "tail")
        if dirty:
            self._disk.sync(self._descriptor, "tail")


def _runs(slots: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Slots as runs of neighbours: the first, and how many."""
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
