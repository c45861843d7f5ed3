"""SQLite's recovery files beside a catalogue (journal, WAL, shm) are untrusted input."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import struct
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from attacks import drop_rights, in_child, limited_memory
from synthetic import KIND, make_photos, write

from facecli.errors import IndexDamaged, IndexLocked, StoreError
from facecli.store.catalog import connection
from facecli.store.catalog.connection import connect
from facecli.store.disk.lock import WriterLock
from facecli.store.errors import explained
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer, repair_index

MAGIC = bytes.fromhex("d9d505f920a163d7")
OPENINGS = (open_reader, open_writer, repair_index, lambda index: open_writer(index, KIND, create=True))
Action = Callable[[Path], object]


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write(tmp_path / ".facecli", make_photos(tmp_path, 3))
    return tmp_path / ".facecli"


def header(pages: int, size: int) -> bytes:
    """The header of a rollback journal with one record."""
    return (MAGIC + struct.pack(">IIIII", 1, 777, pages, 512, size)).ljust(512, b"\0")


def record(first: bytes) -> bytes:
    """The record that restores the first page."""
    total = 777 + sum(first[i] for i in range(len(first) - 200, 0, -200))
    return struct.pack(">I", 1) + first + struct.pack(">I", total & 0xFFFFFFFF)


def super_record(victim: Path, size: int) -> bytes:
    """The last record of a journal, which names a super-journal."""
    name = os.fsencode(victim)
    letters = sum(struct.unpack(f"{len(name)}b", name)) & 0xFFFFFFFF
    return struct.pack(">I", 0x40000000 // size + 1) + name + struct.pack(">II", len(name), letters) + MAGIC


def hot_journal(index: Path, tail: bytes = b"", *, pages: int = 0) -> bytes:
    """A journal that SQLite plays back, with the catalogue's current first page."""
    data = (index / "catalog.db").read_bytes()
    size = int.from_bytes(data[16:18], "big")
    return header(pages or len(data) // size, size) + record(data[:size]) + tail


def test_the_forged_journal_is_one_that_sqlite_obeys(index: Path, tmp_path: Path) -> None:
    """The forged journal works: SQLite deletes the file that it names."""
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    (index / "catalog.db-journal").write_bytes(hot_journal(index, super_record(victim, 8192)))
    base = sqlite3.connect(index / "catalog.db")
    base.execute("SELECT count(*) FROM photos").fetchone()
    base.close()
    assert not victim.exists()


@pytest.mark.parametrize("place", ["hot", "behind zeros", "alone", "beside a log", "without a catalogue"])
@pytest.mark.parametrize("opening", OPENINGS, ids=["read", "write", "repair", "create"])
def test_a_journal_that_names_another_file_is_refused_before_anything_is_opened(
    index: Path, tmp_path: Path, place: str, opening: Action
) -> None:
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    tail = super_record(victim, 8192)
    journal = {"alone": tail, "behind zeros": bytes(512) + tail}.get(place, hot_journal(index, tail))
    (index / "catalog.db-journal").write_bytes(journal)
    if place == "beside a log":
        (index / "catalog.db-wal").write_bytes(b"")
    if place == "without a catalogue":
        (index / "catalog.db").rename(index / "catalog.db.new")
        (index / "catalog.db-journal").rename(index / "catalog.db.new-journal")
    else:
        before = {path.name: path.read_bytes() for path in index.iterdir()}
        with pytest.raises(IndexDamaged, match="tells SQLite to delete another file") as caught:
            opening(index)
        assert caught.value.where.endswith("catalog.db-journal")
        assert {name: (index / name).read_bytes() for name in before} == before
    with contextlib.suppress(StoreError):
        opening(index).close()  # type: ignore[attr-defined]
    assert victim.read_text() == "years of work"


def test_the_copy_before_an_update_takes_no_journal_with_it(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    with contextlib.closing(sqlite3.connect(index / "catalog.db")) as catalogue:
        version = catalogue.execute("PRAGMA user_version").fetchone()[0]
    shutil.copyfile(index / "catalog.db", index / f"catalog.before-{version}")
    (index / f"catalog.before-{version}-journal").write_bytes(hot_journal(index, super_record(victim, 8192)))
    for module in ("maintenance.prepare", "catalog.connection"):
        monkeypatch.setattr(
            f"facecli.store.{module}.MIGRATIONS", (*connection.MIGRATIONS, "CREATE TABLE extra (x INTEGER) STRICT;")
        )
        if module == "opening":
            monkeypatch.setattr("facecli.store.catalog.connection.MIGRATIONS", connection.MIGRATIONS)
    with open_writer(index):
        assert victim.read_text() == "years of work"


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "hard link"])
@pytest.mark.parametrize("opening", OPENINGS[:3], ids=["read", "write", "repair"])
def test_a_recovery_file_that_is_none_is_refused(
    index: Path, tmp_path: Path, suffix: str, kind: str, opening: Action
) -> None:
    victim, path = tmp_path / "thesis.txt", index / f"catalog.db{suffix}"
    victim.write_text("years of work")
    make = {"link": path.symlink_to, "hard link": path.hardlink_to}
    if kind in make:
        make[kind](victim)
    else:
        os.mkfifo(path) if kind == "fifo" else path.mkdir()
    with pytest.raises(IndexDamaged, match=r"is not a regular file|second hard link"):
        opening(index)
    assert victim.read_text() == "years of work"


@pytest.mark.parametrize("name", ["lock", "in-flight"])
def test_a_hard_link_under_a_name_that_is_written_over_is_refused(index: Path, tmp_path: Path, name: str) -> None:
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    (index / name).unlink(missing_ok=True)
    (index / name).hardlink_to(victim)
    for opening in (open_writer, repair_index):
        with pytest.raises(IndexDamaged, match="second hard link"):
            opening(index)
    assert victim.read_text() == "years of work"
    with open_reader(index) as reader:
        assert reader.info.photos == 3


def test_a_catalogue_that_stands_elsewhere_too_is_only_read(index: Path, tmp_path: Path) -> None:
    """As in a backup by `cp -al`, which writing to the index would change."""
    (tmp_path / "backup.db").hardlink_to(index / "catalog.db")
    for opening in (open_writer, repair_index):
        with pytest.raises(IndexDamaged, match="second hard link"):
            opening(index)
    with open_reader(index) as reader:
        assert reader.info.photos == 3


def test_a_directory_in_the_place_of_a_file_is_named_as_what_it_is(index: Path) -> None:
    (index / "in-flight").mkdir()
    with pytest.raises(IndexDamaged, match="not a regular file"):
        open_writer(index)


def test_a_recovery_file_of_another_user_is_refused(index: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to another user")
    (index / "catalog.db-wal").write_bytes(b"")
    os.chown(index / "catalog.db-wal", 12345, 12345)
    with pytest.raises(IndexDamaged, match="belongs to another user"):
        open_reader(index)


def test_the_log_of_another_database_is_an_error_or_an_answer_of_ours(index: Path, tmp_path: Path) -> None:
    """SQLite accepts any WAL with valid checksums; its content is checked like everything else."""
    other = sqlite3.connect(tmp_path / "other.db", isolation_level=None)
    other.execute("PRAGMA page_size = 8192")
    other.execute("PRAGMA journal_mode = WAL")
    other.execute("CREATE TABLE mine (x)")
    other.execute("CREATE TRIGGER sqlitez AFTER INSERT ON mine BEGIN DELETE FROM mine; END")
    shutil.copyfile(tmp_path / "other.db-wal", index / "catalog.db-wal")
    other.close()
    for opening in OPENINGS[:3]:
        with pytest.raises(StoreError):
            opening(index)


# a writer that died


@pytest.fixture
def cut_off(index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index on a network file system whose writer died in a transaction, after it wrote to the catalogue."""
    monkeypatch.setattr(connection, "is_network", lambda _: True)
    open_writer(index).close()
    child = os.fork()
    if not child:
        database = open_writer(index)._writing.connection
        database.execute("PRAGMA cache_size = 1")
        database.execute("PRAGMA cache_spill = 1")
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE embeddings SET embedding = zeroblob(20000)")
        os._exit(9)
    os.waitpid(child, 0)
    assert (index / "catalog.db-journal").read_bytes().startswith(MAGIC)
    return index


def test_a_reader_undoes_it_while_it_holds_the_writers_lock(cut_off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.1)
    lock = WriterLock(cut_off)
    lock.acquire(0)
    with pytest.raises(IndexLocked):
        open_reader(cut_off)
    lock.release()
    with open_reader(cut_off) as reader:
        assert list(reader.check()) == []


@pytest.mark.parametrize("opening", OPENINGS[:3], ids=["read", "write", "repair"])
def test_only_the_owner_undoes_it(cut_off: Path, opening: Action, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (cut_off / "catalog.db").read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: cut_off.stat().st_uid + 1)
    with pytest.raises(StoreError, match="died while it wrote") as caught:
        opening(cut_off)
    assert "facecli check --repair" in caught.value.hint
    assert (cut_off / "catalog.db").read_bytes() == before
    monkeypatch.undo()
    repair_index(cut_off)
    with open_reader(cut_off) as reader:
        assert list(reader.check()) == []


def test_a_server_may_know_the_owner_by_another_number(cut_off: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system that maps all users to one, which owns the index and all files that this user creates."""
    monkeypatch.setattr(os, "geteuid", lambda: cut_off.stat().st_uid + 1)
    monkeypatch.setattr("facecli.store.disk.recovery.is_network", lambda _: True)
    with open_reader(cut_off) as reader:
        assert list(reader.check()) == []


def test_where_nothing_can_be_written_it_is_an_error_and_no_torn_answer(cut_off: Path, tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    copy = tmp_path / "readable"
    shutil.copytree(cut_off, copy)
    for path in copy.iterdir():
        path.chmod(0o444)
    copy.chmod(0o555)

    def act() -> None:
        with pytest.raises(StoreError, match="died while it wrote"):
            open_reader(copy)

    assert drop_rights(act) == 0
    copy.chmod(0o755)


def test_a_journal_that_lets_the_catalogue_grow_is_refused(index: Path) -> None:
    size = (index / "catalog.db").stat().st_size
    (index / "catalog.db-journal").write_bytes(hot_journal(index, pages=1 << 30))
    for opening in OPENINGS[:3]:
        with pytest.raises(IndexDamaged, match="does not belong to this catalogue"):
            opening(index)
    assert (index / "catalog.db").stat().st_size == size


# statements without an end


def rows_without_end(index: Path, tree: str) -> None:
    """Give a B-tree of the catalogue too many rows to read: each page points to the next a hundred times."""
    base = sqlite3.connect(index / "catalog.db", isolation_level=None)
    base.execute("INSERT INTO kept_out (token) VALUES (x'00')")
    base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (root,) = base.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (tree,)).fetchone()
    base.close()
    data, size = bytearray((index / "catalog.db").read_bytes()), 8192
    leaf = data[(root - 1) * size : root * size]
    (at,) = struct.unpack(">H", leaf[8:10])
    kind, key = (5, b"\1") if leaf[0] == 13 else (2, bytes(leaf[at : at + 1 + leaf[at]]))
    first = len(data) // size + 1
    for level in range(10):
        child = struct.pack(">I", first + level + 1)
        length, cells = len(child + key), 100 * (child + key)
        places = [size - length * (i + 1) for i in range(100)]
        head = struct.pack(">BHHHB", kind, 0, 100, places[-1], 0) + child + struct.pack(">100H", *places)
        data += head.ljust(places[-1], b"\0") + cells
    data += leaf
    # The root page of the tree becomes the first of them.
    data[(root - 1) * size : root * size] = data[(first - 1) * size : first * size]
    data[28:32] = struct.pack(">I", len(data) // size)
    data[92:96] = data[24:28]
    (index / "catalog.db").write_bytes(data)


def ends_by_a_signal(action: Callable[[], object]) -> bool:
    """Whether SIGINT ends something endless; an alarm ends a child process that ignores it."""
    child = os.fork()
    if not child:
        signal.alarm(60)
        threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        try:
            action()
        except KeyboardInterrupt:
            os._exit(0)
        except BaseException:  # noqa: BLE001 (whatever it is, the child ends here)
            import traceback

            traceback.print_exc()
        os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_signal_ends_a_statement_without_an_end(index: Path) -> None:
    def act() -> None:
        base = connect(index / "catalog.db", mode="ro")
        with explained(index):
            base.execute(
                "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(x) FROM c"
            ).fetchone()

    assert ends_by_a_signal(act)


def test_a_signal_ends_the_count_of_forged_pages(index: Path) -> None:
    rows_without_end(index, "kept_out_by_token")

    def act() -> None:
        with open_reader(index) as reader:
            assert reader.info

    assert ends_by_a_signal(act)
    with open_reader(index) as reader:
        assert any("structure is damaged" in str(problem) for problem in reader.check())


def test_rows_without_an_end_are_not_gathered(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecli.store.catalog.sets.MANY", 1000)
    rows_without_end(index, "kept_out_by_token")
    with open_reader(index) as reader, pytest.raises(IndexDamaged, match="more rows than it has bytes"):
        reader.rows("SELECT rowid FROM kept_out")


def test_more_rows_than_are_fetched_at_once_are_all_there(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecli.store.catalog.sets.MANY", 2)
    with open_reader(index) as reader:
        assert reader.rows("VALUES (1), (2), (3), (4), (5)") == [(1,), (2,), (3,), (4,), (5,)]


def test_rows_without_an_end_are_not_written_anew(index: Path) -> None:
    """An erasure writes the catalogue anew, and in memory where it is small."""
    rows_without_end(index, "kept_out_by_token")

    def act() -> None:
        with limited_memory(), open_writer(index) as writer, pytest.raises(IndexDamaged, match="cannot be proved"):
            writer.remove(writer.plan_removal([], [1]))

    assert in_child(act) == 0
