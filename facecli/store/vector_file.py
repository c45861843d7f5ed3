"""The files of codes, one for each slot of a set: the vector file, and the compact file of short codes derived from it.

Both only grow, and both are files that FAISS maps (IndexScalarQuantizer, inner product): of 16-bit floats, and of the
bytes of short codes. This module writes and checks their bytes; FAISS only reads them. Byte 8 holds the number of
codes, byte 73 their length, and the codes follow from byte 81. Bytes 16 to 31, which FAISS ignores, hold the mark by
which the catalogue identifies the files of an epoch.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.errors import IndexDamaged

Codes = NDArray[np.float16]
"""float16, little-endian, (n, d): embeddings as stored in the catalogue and in the vector file."""
ShortCodes = NDArray[np.uint8]
"""uint8 (n, code size): short codes of embeddings, as stored in the compact file."""

HEADER = struct.Struct("<4siq16sBiiifqqqq")
_TRAINED, _INNER_PRODUCT = 1, 0
BLOCK = 4 << 20
"""Bytes read at once."""
_SAMPLED = 16
_SCANNED = 512 << 10
"""Bytes that a scan reads at once: few enough to stay in the processor's cache until they are compared."""


class VectorsDamaged(IndexDamaged):
    """A file of codes is not the one that the catalogue describes; searches do without it."""


class CodeForm(Struct, frozen=True):
    """What a file of codes holds."""

    name: str
    prefix: str
    """The beginning of the file's name."""
    quantizer: int
    """The type of quantizer by which FAISS reads the file (`ScalarQuantizer::QuantizerType`)."""
    dtype: str
    lags: bool
    """Whether the file may hold fewer slots than the catalogue."""


HALVES = CodeForm("vector file", "vectors", 4, "<f2", lags=False)
SHORT = CodeForm("compact file", "compact", 5, "u1", lags=True)


class VectorFile(Struct, frozen=True):
    """The name, mark and shape of a file of codes, as recorded in the catalogue for each set."""

    directory: Path
    epoch: int
    mark: bytes
    dimension: int
    form: CodeForm = HALVES

    @property
    def compact(self) -> VectorFile:
        """The compact file of the same epoch."""
        return replace(self, form=SHORT)

    @property
    def path(self) -> Path:
        return self.directory / f"{self.form.prefix}-{self.epoch}.faiss"

    @property
    def width(self) -> int:
        """How many numbers a code has; a short one has a bit for each dimension, and two float32."""
        return self.dimension if self.form == HALVES else (self.dimension + 7) // 8 + 8

    @property
    def code_size(self) -> int:
        """The bytes of a code."""
        return self.width * np.dtype(self.form.dtype).itemsize

    def place(self, slot: int) -> int:
        """The offset of a slot's code in bytes."""
        return HEADER.size + slot * self.code_size

    def header(self, count: int) -> bytes:
        """The header of a file with `count` codes."""
        d, size, quantizer = self.width, self.code_size, self.form.quantizer
        return HEADER.pack(
            b"IxSQ", d, count, self.mark, _TRAINED, _INNER_PRODUCT, quantizer, 0, 0.0, d, size, 0, count * size
        )

    def open(self, *, write: bool = False) -> int:
        """Open the file, never through a symbolic link, and return the descriptor."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        return os.open(self.path, flags)

    def check(self, descriptor: int, slots: int) -> int:
        """The number of codes in an open file.

        Raises VectorsDamaged unless it has the expected header, is complete and holds at least `slots` codes.
        """
        head, size = os.pread(descriptor, HEADER.size, 0), os.fstat(descriptor).st_size
        if len(head) < HEADER.size:
            raise VectorsDamaged(f"the {self.form.name} ends within its header", self.path)
        count = int.from_bytes(head[8:16], "little", signed=True)
        if not 0 <= count < 1 << 40 or head != self.header(count):
            raise VectorsDamaged(f"the header of the {self.form.name} does not match the catalogue", self.path)
        if count < slots or size < self.place(count):
            raise VectorsDamaged(f"the {self.form.name} is too short for {max(slots, count)} vectors", self.path)
        return count

    def least(self, slots: int) -> int:
        """How many codes the file must hold where the catalogue has `slots` slots."""
        return 0 if self.form.lags else slots

    def read(self, slots: int) -> StoredCodes:
        """Open the codes of the first `slots` slots, or of as many as a file that may lag behind holds.

        Raises VectorsDamaged, or OSError where that is not possible.
        """
        descriptor = self.open()
        try:
            count = self.check(descriptor, self.least(slots))
        except BaseException:
            os.close(descriptor)
            raise
        return StoredCodes(self, descriptor, min(count, slots))


class StoredCodes:
    """The codes of an open file; usable from any thread.

    The arrays are float16 (n, d) for a vector file, uint8 (n, code size) for a compact file. They are read, not mapped
    into memory: if the file is truncated meanwhile, reading raises an error, while a mapping would kill the process.
    """

    def __init__(self, file: VectorFile, descriptor: int, slots: int) -> None:
        self.file, self.descriptor, self._slots = file, descriptor, slots

    def __len__(self) -> int:
        return self._slots

    def __del__(self) -> None:
        os.close(self.descriptor)

    @property
    def path(self) -> Path:
        return self.file.path

    def check(self) -> None:
        """Raise VectorsDamaged where the file is no longer complete."""
        self.file.check(self.descriptor, self._slots)

    def code(self, slot: int) -> bytes:
        """The code of one slot as bytes; raises VectorsDamaged where the file is truncated."""
        return self.block(slot, 1).tobytes()

    def block(self, first: int, count: int) -> Codes:
        """`count` codes from slot `first` on; raises VectorsDamaged where the file is truncated."""
        return self._fill(self._room(count), first)

    def blocks(self, first: int = 0) -> Iterator[tuple[int, Codes]]:
        """All codes from slot `first` on in blocks, each with its first slot.

        A block is valid until the next one is read. Raises VectorsDamaged where the file is truncated.
        """
        step = max(1, _SCANNED // self.file.code_size)
        room = self._room(min(step, self._slots))
        for start in range(first, self._slots, step):
            yield start, self._fill(room[: self._slots - start], start)

    def at(self, slots: NDArray[np.int64]) -> Codes:
        """The codes of `slots`, int64 (n,).

        Few are read one by one, neighbours together; for many the whole file is read. Raises VectorsDamaged where the
        file is truncated.
        """
        found = self._room(len(slots))
        if len(slots) * 8 < self._slots:
            starts = np.flatnonzero(np.diff(slots, prepend=-2) != 1).tolist()
            for start, end in pairwise([*starts, len(slots)]):
                self._fill(found[start:end], int(slots[start]))
            return found
        order = np.argsort(slots, kind="stable")
        for first, codes in self.blocks():
            start, end = np.searchsorted(slots, (first, first + len(codes)), sorter=order).tolist()
            chosen = order[start:end]
            found[chosen] = codes[slots[chosen] - first]
        return found

    def will_need(self, slots: NDArray[np.int64]) -> None:
        """Let the system read these slots, int64 (n,), from the disk together, before they are read one by one.

        Nothing is done where a sample of them is in the disk cache already: asking for each takes longer than reading.
        """
        if not hasattr(os, "posix_fadvise") or all(map(self._is_cached, slots[::_SAMPLED].tolist())):
            return
        for slot in slots.tolist():
            os.posix_fadvise(self.descriptor, self.file.place(slot), self.file.code_size, os.POSIX_FADV_WILLNEED)

    def _is_cached(self, slot: int) -> bool:
        try:
            os.preadv(self.descriptor, [bytearray(1)], self.file.place(slot), os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except (OSError, AttributeError):
            return True  # The file system or the system cannot tell.
        return True

    def _room(self, count: int) -> Codes:
        return np.empty((count, self.file.width), self.file.form.dtype)

    def _fill(self, into: Codes, first: int) -> Codes:
        """Read the codes from slot `first` on into a contiguous array, and return it."""
        room = into.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(room):
            read = os.preadv(self.descriptor, [room[done:]], self.file.place(first) + done)
            if not read:
                raise VectorsDamaged(f"the {self.file.form.name} was truncated while it was read", self.file.path)
            done += read
        return into
