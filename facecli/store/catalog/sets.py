"""The sets of embeddings in a catalogue, and the base of all its queries, which any thread may run."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from facecli.errors import IndexDamaged, StoreError
from facecli.fingerprint import Fingerprint
from facecli.store.catalog.connection import CATALOGUE, snapshot
from facecli.store.catalog.rows import as_bytes, as_count, as_int
from facecli.store.catalog.schema import MIGRATIONS
from facecli.store.catalog.stored_paths import StoredPaths
from facecli.store.errors import explained, repair_hint, trusted
from facecli.store.vector_file import VectorFile

PAGE = 4096
MANY = 1_000_000
"""The number of rows from which a result is checked against the size of the file."""
LONGEST_LICENCE = 500
PORTION = 500
"""The most values that one statement looks up."""
Row = tuple[object, ...]


class SetRow(Struct, frozen=True):
    """One set of embeddings: the current one, or the one that a migration builds."""

    set_id: int
    fingerprint: Fingerprint
    licence: str
    model_directory: str | None
    file: VectorFile
    slots: int
    photos: int
    faces: int


class SetQueries:
    """Queries about the sets of a catalogue; `set_id` selects the set that all other queries use."""

    def __init__(self, connection: sqlite3.Connection, directory: Path) -> None:
        self.connection = connection
        self.directory = directory
        self.path = directory / CATALOGUE
        self.paths = StoredPaths(directory)
        self.version = len(MIGRATIONS)
        self.set_id = 0
        self._lock = threading.RLock()
        self._key = b""

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        """All rows of a query."""
        with self._lock, explained(self.path):
            cursor = self.connection.execute(query, parameters)
            found = cursor.fetchmany(MANY)
            return found if len(found) < MANY else [*found, *self._rest(cursor)]

    def _rest(self, cursor: sqlite3.Cursor) -> list[Row]:
        """The remaining rows of a long result; raises IndexDamaged where there are more rows than the file has bytes.

        That happens where forged pages point at each other.
        """
        size = self.connection.execute(
            "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
        ).fetchone()[0]
        most = min(int(size), (1 << 31) - 1)
        found = cursor.fetchmany(most)
        if len(found) == most:
            raise IndexDamaged(
                "the catalogue holds more rows than it has bytes", self.path, hint=repair_hint(self.path)
            )
        return found

    def rows_in(self, query: str, values: Sequence[object], *first: object) -> Iterator[list[Row]]:
        """The rows of a query whose `IN ?` looks up values, a portion of them at a time; the other parameters first."""
        for i in range(0, len(values), PORTION):
            some = values[i : i + PORTION]
            yield self.rows(query.replace("IN ?", f"IN ({','.join('?' * len(some))})"), (*first, *some))

    def number(self, query: str, parameters: Sequence[object] = ()) -> int:
        """The single number that a query returns; 0 where it returns no row or NULL."""
        rows = self.rows(query, parameters)
        with trusted(self.path):
            return int(rows[0][0] or 0) if rows else 0  # type: ignore[call-overload]

    @contextmanager
    def steady(self) -> Iterator[None]:
        """Run the block in a read transaction, so that all its queries see one state."""
        with self._lock, explained(self.path), snapshot(self.connection):
            yield

    def sets(self) -> dict[bool, SetRow]:
        """The sets: the current one under True, the one that a migration builds under False."""
        rows = self.rows(
            "SELECT current, set_id, fingerprint, licence, model_directory, epoch, mark, slots, photos, faces "
            "FROM sets LIMIT 3"
        )
        with trusted(self.path):
            found = {bool(row[0]): self._set(row) for row in rows}
        if True not in found:
            raise IndexDamaged("the catalogue has no current set of embeddings", self.path, hint=repair_hint(self.path))
        return found

    def _set(self, row: Row) -> SetRow:
        _, set_id, fingerprint, licence, model_directory, epoch, mark, slots, photos, faces = row
        kind = self._fingerprint(str(fingerprint))
        named = None if model_directory is None else self.paths.unpack(as_bytes(model_directory))
        if len(as_bytes(mark)) != 16 or as_count(epoch) != epoch or as_count(slots) != slots:
            raise ValueError("not a set of embeddings")
        file = VectorFile(self.directory, as_int(epoch), as_bytes(mark), kind.dimension)
        return SetRow(
            as_int(set_id),
            kind,
            str(licence)[:LONGEST_LICENCE],
            named,
            file,
            as_int(slots),
            as_count(photos),
            as_count(faces),
        )

    def _fingerprint(self, text: str) -> Fingerprint:
        record = json.loads(text)
        if not isinstance(record, dict):
            raise TypeError("not settings")
        if unknown := Fingerprint.unknown(record):
            hint = "use the facecli that made it, or -i DIR for another index"
            raise StoreError(
                f"the index has settings of a newer facecli ({', '.join(unknown)[:80]})", self.path, hint=hint
            )
        return Fingerprint.from_record(record)

    def holes(self, set_id: int) -> list[int]:
        """The slots whose faces were deleted."""
        return [as_int(slot) for (slot,) in self.rows("SELECT slot FROM holes WHERE set_id = ?", (set_id,))]

    def _pages(self, query: str, first: tuple[object, ...], low: bytes, high: bytes) -> Iterator[Row]:
        """The rows of a range of paths, read one page at a time, so that no read is open while a batch is committed."""
        while True:
            page = self.rows(f"{query} ORDER BY path LIMIT {PAGE}", (*first, low, high))
            yield from page
            if len(page) < PAGE:
                return
            low = as_bytes(page[-1][0]) + b"\0"
