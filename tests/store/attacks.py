"""Tools for tests of damaged and forged indexes: change the catalogue, run every query, limit memory and rights."""

from __future__ import annotations

import os
import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from synthetic import DIMENSION, at_path, known_under, make_photo

from facecli.config import By
from facecli.errors import FacecliError
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.writer import IndexWriter


def vectors_of(index: Path) -> Path:
    (file,) = index.glob("vectors-*.faiss")
    return file


def change_catalogue(index: Path, *statements: str) -> None:
    database = sqlite3.connect(index / "catalog.db", isolation_level=None)
    for statement in statements:
        database.execute(statement)
    database.close()


def with_every_question(index: Path) -> int:
    """Run every query on an index; returns how many raised one of our errors. Any other error fails the test."""
    refused = 0
    try:
        reader = open_reader(index)
    except FacecliError:
        return 1
    query = np.ones((1, DIMENSION), np.float32) / np.float32(8)
    questions: list[Callable[[], object]] = [
        lambda: reader.info,
        lambda: reader.nearest(query, top=3, minimum=None, by=By.PHOTO),
        lambda: reader.nearest(query, top=0, minimum=None, by=By.FACE),
        lambda: [
            (photo, reader.faces_of(photo.photo_id), reader.load(photo.photo_id, photo.file))
            for photo in reader.photos()
        ],
        lambda: list(known_under(reader, "/")),
        lambda: list(reader.skips()),
        lambda: list(reader.check()),
        lambda: reader.kept_out(bytes(16)),
        reader.roots,
        lambda: reader.face(5),
    ]
    with reader:
        for question in questions:
            try:
                question()
            except FacecliError:
                refused += 1
    return refused


@contextmanager
def limited_memory() -> Iterator[None]:
    """Limit memory to the current use and a gigabyte, so that a huge allocation fails."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def run_in_child(action: Callable[[], object]) -> int:
    """Run something in a child process; returns its exit code, 1 for an exception."""
    child = os.fork()
    if not child:
        try:
            action()
        except BaseException:  # noqa: BLE001 (whatever it is, the child ends here)
            import traceback

            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def in_child(action: Callable[[], object]) -> int:
    """Run something in a child process with limited memory; returns 0, 1 for an exception, below 0 for a crash."""

    def limited() -> None:
        with limited_memory():
            action()

    return run_in_child(limited)


def write_something(writer: IndexWriter, folder: Path) -> None:
    """Write everything that a run may write: new, changed, moved and pruned photos, a removal, the end of a run."""
    with writer:
        moved = make_photo(folder / "moved.jpg").file
        changed = at_path(make_photo("changed"), folder / "0001.jpg")
        writer.commit(
            Batch(
                photos=(make_photo(folder / "new.jpg"), changed, make_photo(folder / "0002.jpg")), moves=((1, moved),)
            )
        )
        writer.prune([4])
        writer.remove(writer.plan_removal([str(folder / "0007.jpg")], [11]), wait_readers=0)
        writer.finish()


def drop_rights(action: Callable[[], None]) -> int:
    """Run something in a child process that file permissions apply to; returns its exit code."""

    def without_rights() -> None:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setresgid(12345, 12345, 12345)
            os.setresuid(12345, 12345, 12345)
        action()

    return run_in_child(without_rights)
