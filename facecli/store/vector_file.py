"""The vector file: a FAISS index of float16 codes (IndexScalarQuantizer, inner product) that only grows.

This module writes and checks its bytes; FAISS only reads it. Byte 8 holds the number of vectors, byte 73 the length of
the codes, and the codes follow from byte 81. Bytes 16 to 31, which FAISS ignores, hold the mark by which the catalogue
identifies the file.
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
"""float16, little-endian, (n, d): embeddings as stored in the catalogue and in the vector file."""

HEADER = struct.Struct("<4siq16sBiiifqqqq")
_TRAINED, _INNER_PRODUCT, _FP16 = 1, 0, 4
BESIDE = ".new"
BLOCK = 4 << 20
"""Bytes read at once."""
_SCANNED = 512 << 10
"""Bytes that a scan reads at once: few enough to stay in the processor's cache until they are compared."""


class VectorsDamaged(IndexDamaged):
    """The vector file is not the one that the catalogue describes; searches fall back to the catalogue."""


class VectorFile(Struct, frozen=True):
    """The name, mark and shape of a set's vector file, as recorded in the catalogue."""

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
        """The offset of a slot's code in bytes."""
        return HEADER.size + slot * self.code_size

    def header(self, count: int) -> bytes:
        """The header of a file with `count` vectors."""
        d, size = self.dimension, self.code_size
        return HEADER.pack(
            b"IxSQ", d, count, self.mark, _TRAINED, _INNER_PRODUCT, _FP16, 0, 0.0, d, size, 0, count * size
        )

    def open(self, *, write: bool = False) -> int:
        """Open the file, never through a symbolic link, and return the descriptor."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self.path, flags)

    def check(self, descriptor: int, slots: int) -> int:
        """The number of vectors in an open file.

        Raises VectorsDamaged unless it has the expected header, is complete and holds at least `slots` vectors.
        """
        head, size = os.pread(descriptor, HEADER.size, 0), os.fstat(descriptor).st_size
        if len(head) < HEADER.size:
            raise VectorsDamaged("the vector file ends within its header", self.path)
        count = int.from_bytes(head[8:16], "little", signed=True)
        if not 0 <= count < 1 << 40 or head != self.header(count):
            raise VectorsDamaged("the header of the vector file does not match the catalogue", self.path)
        if count < slots or size < self.place(count):
            raise VectorsDamaged(f"the vector file is too short for {max(slots, count)} vectors", self.path)
        return count

    def read(self, slots: int) -> StoredCodes:
        """Open the codes of the first `slots` slots; raises VectorsDamaged, or OSError where that is not possible."""
        descriptor = self.open()
        try:
            self.check(descriptor, slots)
        except BaseException:
            os.close(descriptor)
            raise
        return StoredCodes(self, descriptor, slots)


class StoredCodes:
    """The codes of an open vector file; usable from any thread.

    They are read, not mapped into memory: if the file is truncated meanwhile, reading raises an error, while a mapping
    would kill the process.
    """

    def __init__(self, file: VectorFile, descriptor: int, slots: int) -> None:
        self._file, self._descriptor, self._slots = file, descriptor, slots

    def __len__(self) -> int:
        return self._slots

    def __del__(self) -> None:
        os.close(self._descriptor)

    def check(self) -> None:
        """Raise VectorsDamaged where the file is no longer complete."""
        self._file.check(self._descriptor, self._slots)

    def code(self, slot: int) -> bytes:
        """The code of one slot as bytes; raises VectorsDamaged where the file is truncated."""
        return self.block(slot, 1).tobytes()

    def block(self, first: int, count: int) -> Codes:
        """The codes float16 (count, d) from slot `first` on; raises VectorsDamaged where the file is truncated."""
        return self._fill(np.empty((count, self._file.dimension), "<f2"), first)

    def blocks(self) -> Iterator[tuple[int, Codes]]:
        """All codes in blocks float16 (n, d), each with its first slot.

        A block is valid until the next one is read. Raises VectorsDamaged where the file is truncated.
        """
        step = max(1, _SCANNED // self._file.code_size)
        room = np.empty((min(step, self._slots), self._file.dimension), "<f2")
        for first in range(0, self._slots, step):
            yield first, self._fill(room[: self._slots - first], first)

    def at(self, slots: NDArray[np.int64]) -> Codes:
        """The codes float16 (n, d) of `slots`, int64 (n,).

        Few are read one by one; for many the whole file is read. Raises VectorsDamaged where the file is truncated.
        """
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
        """Read the codes from slot `first` on into a contiguous array float16 (n, d), and return it."""
        room = into.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(room):
            read = os.preadv(self._descriptor, [room[done:]], self._file.place(first) + done)
            if not read:
                raise VectorsDamaged("the vector file was truncated while it was read", self._file.path)
            done += read
        return into


class VectorWriter:
    """A vector file opened for writing, under the writer's lock."""

    def __init__(self, file: VectorFile, disk: Disk, descriptor: int) -> None:
        self.file = file
        self._disk = disk
        self._descriptor = descriptor

    @classmethod
    def create(cls, file: VectorFile, disk: Disk, blocks: Iterable[Codes] = ()) -> VectorWriter:
        """Write a new file with these codes, float16 (n, d) each, under a temporary name, and rename it into place.

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
        """Write codes, float16 (n, d), from `slot` on; they become valid with `set_count`."""
        data = np.ascontiguousarray(codes, "<f2")
        self._disk.write(self._descriptor, data.reshape(-1).view(np.uint8).data, self.file.place(slot), "codes")

    def set_count(self, count: int) -> None:
        """Sync the codes, then write the whole header with the new count in one write, and sync it."""
        self._disk.sync(self._descriptor, "codes")
        self._disk.write(self._descriptor, self.file.header(count), 0, "header")
        self._disk.sync(self._descriptor, "header")

    def zero(self, slots: Iterable[int]) -> None:
        """Overwrite slots with zeros, and sync."""
        done = False
        for first, count in _runs(slots):
            for start in range(first, first + count, 4096):
                length = min(4096, first + count - start) * self.file.code_size
                self._disk.write(self._descriptor, bytes(length), self.file.place(start), "zeros")
            done = True
        if done:
            self._disk.sync(self._descriptor, "zeros")

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
