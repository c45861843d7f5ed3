"""Create an index: its directory, its first vector file, and a catalogue that gets its name only when complete."""

from __future__ import annotations

import json
import os
import re
from contextlib import suppress
from pathlib import Path

from facecli.errors import StoreError
from facecli.store.catalog.connection import CATALOGUE, open_for_writing, transaction
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.schema import MIGRATIONS, migrate
from facecli.store.disk.crash_journal import JOURNAL
from facecli.store.disk.durable import Disk, create_private
from facecli.store.disk.lock import HOLDER, LOCK
from facecli.store.maintenance.rebuild import new_mark
from facecli.store.records import EmbeddingKind
from facecli.store.vector_file import VectorFile
from facecli.store.vector_writer import BESIDE, VectorWriter

BEFORE = "catalog.before-"
"""The prefix of the name of a copy made before the catalogue is migrated."""
OWN = re.compile(
    rf"{re.escape(CATALOGUE)}({re.escape(BESIDE)})?(-wal|-shm|-journal)?|{LOCK}|{HOLDER}|{JOURNAL}|"
    rf"{re.escape(BEFORE)}\d+(-journal)?|(vectors|compact)-\d+\.faiss({re.escape(BESIDE)})?"
)
"""The names of all files of an index."""


def make_index_directory(directory: Path) -> None:
    """Create the directory of an index with mode 0700, or accept an existing one that is empty or holds an index.

    Raises StoreError where that is not possible, or the directory holds other files and no index.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if not directory.is_dir():
            raise StoreError("the index is not a directory", directory, hint="-i DIR names another place") from None
    except FileNotFoundError:
        raise StoreError(
            "the directory for the index does not exist",
            directory.parent,
            hint="make it, or name another place with -i DIR",
        ) from None
    foreign = [name for name in os.listdir(directory) if not OWN.fullmatch(name)]
    if foreign and not (directory / CATALOGUE).exists():
        raise StoreError("the directory holds other files and no index", directory, hint="-i DIR names another place")


def make_private(directory: Path) -> None:
    """Restrict the directory and files of an index to their owner, since a copy may have lost the permissions."""
    with suppress(PermissionError):
        directory.chmod(0o700)
        for name in os.listdir(directory):
            if OWN.fullmatch(name) and not (directory / name).is_symlink():
                (directory / name).chmod(0o600)


def make_index(directory: Path, disk: Disk, kind: EmbeddingKind) -> None:
    """Create the first vector file, then the catalogue under a temporary name, and rename it."""
    file = VectorFile(directory, 1, new_mark(1), kind.fingerprint.dimension)
    VectorWriter.create(file, disk).close()
    beside = directory / f"{CATALOGUE}{BESIDE}"
    for leftover in directory.glob(f"{CATALOGUE}*"):
        disk.unlink(leftover, "leftover catalogue")
    os.close(create_private(beside))
    catalogue = Catalogue(open_for_writing(beside), directory)
    try:
        with transaction(catalogue.connection, disk, "creation"):
            for number, script in enumerate(MIGRATIONS, 1):
                migrate(catalogue.connection, number, script)
            names = "id, generation, last_epoch, pending, keep_out_key"
            catalogue.connection.execute(f"INSERT INTO state ({names}) VALUES (1, 1, 1, 0, ?)", (os.urandom(32),))
            add_set(catalogue, kind, file, current=True)
        # Closing checkpoints the WAL too, but does not report a full disk, which leaves the file incomplete.
        with disk.step("checkpoint catalogue"):
            catalogue.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        catalogue.connection.close()
    disk.replace(beside, directory / CATALOGUE, "catalogue")
    disk.sync_directory(directory)


def add_set(catalogue: Catalogue, kind: EmbeddingKind, file: VectorFile, *, current: bool) -> None:
    """Record a set of embeddings and its empty vector file."""
    named = None if kind.model_directory is None else os.fsencode(kind.model_directory)
    query = (
        "INSERT INTO sets (current, fingerprint, licence, model_directory, epoch, mark, slots) "
        "VALUES (?, ?, ?, ?, ?, ?, 0)"
    )
    record = json.dumps(kind.fingerprint.to_record())
    catalogue.connection.execute(query, (int(current), record, kind.licence, named, file.epoch, file.mark))
