"""Prepare an index for a writer: create or migrate the catalogue, clear the leftovers of a killed run."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import Struct, field

from facecli.errors import IndexDamaged, IndexMissing
from facecli.store.catalog.connection import CATALOGUE, connect, open_for_writing, schema_version, transaction
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_int, photo_checksum
from facecli.store.catalog.schema import MIGRATIONS, migrate
from facecli.store.catalog.sets import SetRow
from facecli.store.disk.durable import Disk, create_private
from facecli.store.errors import explained, trusted
from facecli.store.locate import MAKE_ONE, is_index
from facecli.store.maintenance.check import check_set
from facecli.store.maintenance.create import BEFORE, OWN, make_index
from facecli.store.maintenance.rebuild import restore
from facecli.store.maintenance.repair import mend_rows
from facecli.store.records import EmbeddingKind
from facecli.store.vector_file import VectorFile, VectorsDamaged
from facecli.store.vector_writer import BESIDE, VectorWriter


class OpenedIndex(Struct):
    """A catalogue that is ready for writing, and the vector files of its sets."""

    catalogue: Catalogue
    vectors: dict[int, VectorWriter] = field(default_factory=dict)
    mended: list[str] = field(default_factory=list)
    """Messages about what was repaired."""

    def close(self) -> None:
        for writer in self.vectors.values():
            writer.close()
        self.catalogue.connection.close()


def prepare(
    directory: Path, disk: Disk, kind: EmbeddingKind | None, *, create: bool = False, repair: bool = False
) -> OpenedIndex:
    """Open the catalogue under the lock, and finish or clear what an earlier writer left behind."""
    path = directory / CATALOGUE
    with explained(path):
        if not is_index(directory):
            if not create or kind is None:
                raise IndexMissing("there is no index", directory, hint=MAKE_ONE)
            make_index(directory, disk, kind)
        catalogue = Catalogue(open_for_writing(path), directory)
        opened = OpenedIndex(catalogue)
        try:
            _bring_up_to_date(catalogue, disk)
            if repair:
                opened.mended += mend_rows(catalogue, disk)
            sets = catalogue.sets()
            if kind is not None:
                refuse_other_kind(sets[True], kind)
            catalogue.set_id = sets[True].set_id
            _clear_leftovers(directory, disk, list(sets.values()))
            _adopt_paths(catalogue, disk)
            for row in sets.values():
                opened.vectors[row.set_id] = _open_vectors(opened, disk, row, thorough=repair)
            for row in catalogue.sets().values():
                _open_compact(opened, disk, row)
                if repair and opened.vectors[row.set_id].catch_up(row.slots) and not opened.mended:
                    opened.mended.append(f"the compact file is made: {row.file.compact.path}")
        except BaseException:
            opened.close()
            raise
    return opened


def _bring_up_to_date(catalogue: Catalogue, disk: Disk) -> None:
    """Migrate the catalogue of an older facecli, after making a copy."""
    version = schema_version(catalogue.connection, catalogue.path)
    if version < len(MIGRATIONS):
        copy = _copy(catalogue, disk, version)
        for number in range(version + 1, len(MIGRATIONS) + 1):
            with transaction(catalogue.connection, disk, "migration"):
                migrate(catalogue.connection, number, MIGRATIONS[number - 1])
        disk.unlink(copy, "copy")


def _copy(catalogue: Catalogue, disk: Disk, version: int) -> Path:
    """Make a durable copy of the catalogue beside it, which is kept until the migration has succeeded."""
    copy = catalogue.directory / f"{BEFORE}{version}"
    for leftover in (copy, *catalogue.directory.glob(f"{copy.name}-*")):
        disk.unlink(leftover, "older copy")
    os.close(create_private(copy))
    with disk.step("copy"):
        target = connect(copy, mode="rw")
        try:
            catalogue.connection.backup(target)
        finally:
            target.close()
    descriptor = os.open(copy, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        disk.sync(descriptor, "copy")
    finally:
        os.close(descriptor)
    disk.sync_directory(catalogue.directory)
    return copy


def refuse_other_kind(row: SetRow, kind: EmbeddingKind) -> None:
    """Raise IndexMismatch where the index is of another kind: one set never mixes two kinds of embeddings."""
    hint = "--migrate embeds the whole index again, -i DIR names another index"
    row.fingerprint.ask_same(kind.fingerprint, row.file.directory, hint)


def _clear_leftovers(directory: Path, disk: Disk, sets: list[SetRow]) -> None:
    """Delete files of codes that no set names, copies made before a migration, and leftovers of a creation."""
    named = {file.path.name for row in sets for file in (row.file, row.file.compact)}
    ours = ("vectors-", "compact-", BEFORE, f"{CATALOGUE}{BESIDE}")
    for name in sorted(os.listdir(directory)):
        if OWN.fullmatch(name) and name.startswith(ours) and name not in named:
            disk.unlink(directory / name, "leftover")


def _adopt_paths(catalogue: Catalogue, disk: Disk) -> None:
    """Make stored absolute paths relative that now lie below the index's parent, as after moving the index there."""
    low, high = catalogue.paths.misplaced()
    where = "path >= ? AND path < ?"
    if not catalogue.rows(
        f"SELECT 1 FROM photos WHERE {where} UNION ALL SELECT 1 FROM skips WHERE {where} LIMIT 1",
        (low, high, low, high),
    ):
        return
    connection, query = (
        catalogue.connection,
        f"SELECT photo_id, path, set_id, digest, size, mtime_ns, width, height FROM photos WHERE {where}",
    )
    with trusted(catalogue.path), transaction(connection, disk, "adoption"):
        for photo_id, path, set_id, digest, *numbers in connection.execute(query, (low, high)).fetchall():
            stored = catalogue.paths.pack(os.fsdecode(as_bytes(path)))
            connection.execute("DELETE FROM photos WHERE set_id = ? AND path = ?", (set_id, stored))
            checksum = photo_checksum(photo_id, digest, stored, as_int(set_id), *numbers)
            connection.execute(
                "UPDATE photos SET path = ?, checksum = ? WHERE photo_id = ?", (stored, checksum, photo_id)
            )
        for (path,) in connection.execute(f"SELECT path FROM skips WHERE {where}", (low, high)).fetchall():
            stored = catalogue.paths.pack(os.fsdecode(as_bytes(path)))
            connection.execute("UPDATE OR REPLACE skips SET path = ? WHERE path = ?", (stored, path))


def _open_vectors(opened: OpenedIndex, disk: Disk, row: SetRow, *, thorough: bool) -> VectorWriter:
    """Open the vector file of a set, and clear the tail left by a killed batch; rebuild it where it cannot be used.

    With `thorough` it is also rebuilt, and the compact file deleted, where the check of the set finds any problem.
    """
    damaged = _damaged_files(opened.catalogue, row) if thorough else set()
    if row.file.compact.path in damaged:
        _drop_compact(opened, disk, row.file.compact)
    try:
        if row.file.path in damaged:
            raise VectorsDamaged("the vector file does not match the catalogue", row.file.path)
        writer = VectorWriter.open(row.file, disk, row.slots)
    except (IndexDamaged, FileNotFoundError, IsADirectoryError):
        opened.mended.append(f"the vector file is rebuilt: {row.file.path}")
        return restore(opened.catalogue, disk, row)
    try:
        writer.clear_tail(row.slots)
    except BaseException:
        writer.close()
        raise
    return writer


def _damaged_files(catalogue: Catalogue, row: SetRow) -> set[Path]:
    """The files of codes that the check of a set finds damaged; both where it finds anything but a bad compact file."""
    compact = row.file.compact.path
    found = {problem.where == str(compact) for problem in check_set(catalogue, row)}
    return {row.file.path, compact} if False in found else {compact} if found else set()


def _open_compact(opened: OpenedIndex, disk: Disk, row: SetRow) -> None:
    """Open the compact file of a set where there is one, and delete it where it cannot be used.

    The end of the run makes it anew.
    """
    file, vectors = row.file.compact, opened.vectors[row.set_id]
    try:
        vectors.compact = compact = VectorWriter.open(file, disk, row.slots)
    except FileNotFoundError:
        return
    except (IndexDamaged, IsADirectoryError):
        _drop_compact(opened, disk, file)
        return
    if compact.count > row.slots:
        compact.close()
        vectors.compact = None
        _drop_compact(opened, disk, file)
    else:
        compact.clear_tail(compact.count)


def _drop_compact(opened: OpenedIndex, disk: Disk, file: VectorFile) -> None:
    if file.path.is_file():
        opened.mended.append(f"the compact file is rebuilt: {file.path}")
        disk.unlink(file.path, "damaged compact file")
