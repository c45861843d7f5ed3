"""Finding the index, permissions, and the states of the disk in which it can be read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from attacks import drop_rights
from msgspec.structs import replace
from synthetic import KIND, contents, make_photo, make_photos, write

from facecli.errors import IndexDamaged, IndexLocked, IndexMissing, StoreError
from facecli.store import writer as writing
from facecli.store.catalog import connection, schema
from facecli.store.disk import filesystem
from facecli.store.locate import find_index, place_index
from facecli.store.reader import open_reader
from facecli.store.records import Batch, KnownFile
from facecli.store.writer import open_writer
from facecli.types import PhotoFile, Skipped, SkipReason


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write(tmp_path / ".facecli", make_photos(tmp_path, 3))
    return tmp_path / ".facecli"


# place


def test_the_nearest_index_at_or_above_is_found(index: Path, tmp_path: Path) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_index(None, str(below)) == find_index(None, str(tmp_path)) == place_index(None, str(below)) == index
    (tmp_path / "a" / ".facecli").mkdir()
    assert find_index(None, str(below)) == tmp_path / "a" / ".facecli"
    assert find_index("../../.facecli", str(below)) == index


def test_a_missing_index_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(IndexMissing, match="no index at or above") as caught:
        find_index(None, str(tmp_path))
    assert "facecli index" in caught.value.hint
    with pytest.raises(IndexMissing, match="there is no index"):
        find_index("none", str(tmp_path))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StoreError, match="not a directory"):
        find_index("file", str(tmp_path))
    with pytest.raises(StoreError, match="empty string"):
        find_index("", str(tmp_path))
    assert place_index(None, str(tmp_path)) == tmp_path / ".facecli"
    assert place_index("x", str(tmp_path)) == tmp_path / "x"


def test_an_index_of_another_user_is_used_only_when_named(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: index.stat().st_uid + 1)
    with pytest.raises(StoreError, match="belongs to another user") as caught:
        find_index(None, str(tmp_path))
    assert f"-i {index}" in caught.value.hint
    assert find_index(".facecli", str(tmp_path)) == index


def test_a_directory_without_an_index_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for action in (open_reader, open_writer):
        with pytest.raises(IndexMissing):
            action(tmp_path / "empty")
    assert list((tmp_path / "empty").iterdir()) == []


def test_an_index_is_made_only_in_a_new_or_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    with pytest.raises(StoreError, match="other files and no index"):
        open_writer(tmp_path / "photos", KIND, create=True)
    with pytest.raises(StoreError, match="does not exist"):
        open_writer(tmp_path / "none" / "x", KIND, create=True)
    with pytest.raises(StoreError, match="not a directory"):
        open_writer(tmp_path / "photos" / "a.jpg", KIND, create=True)
    (tmp_path / "empty").mkdir()
    open_writer(tmp_path / "empty", KIND, create=True).close()
    with open_reader(tmp_path / "empty") as reader:
        assert reader.info.photos == 0


# rights


@pytest.mark.parametrize("umask", [0, 0o777])
def test_files_are_the_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with open_writer(tmp_path / ".facecli", KIND, create=True) as writer:
            writer.commit(Batch(photos=(make_photo(tmp_path / "a.jpg"),)))
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / ".facecli").iterdir()}
        with open_reader(tmp_path / ".facecli") as reader:
            modes |= {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / ".facecli").iterdir()}
            assert reader.info.photos == 1
    finally:
        os.umask(before)
    assert {"catalog.db", "catalog.db-wal", "catalog.db-shm", "lock", "lock-holder", "vectors-1.faiss"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE((tmp_path / ".facecli").stat().st_mode) == 0o700


def test_a_writer_takes_rights_back_that_a_copy_gave(index: Path) -> None:
    index.chmod(0o755)
    for path in index.iterdir():
        path.chmod(0o644)
    open_writer(index).close()
    assert {stat.S_IMODE(path.stat().st_mode) for path in index.iterdir()} == {0o600}
    assert stat.S_IMODE(index.stat().st_mode) == 0o700


@pytest.mark.parametrize("name", ["catalog.db", "vectors-1.faiss", "catalog.db-wal", "lock", "anything"])
def test_a_symbolic_link_in_the_index_is_refused(index: Path, tmp_path: Path, name: str) -> None:
    target = tmp_path / "target"
    if (index / name).exists():
        (index / name).rename(target)
    else:
        target.write_bytes(b"untouched")
    before = target.read_bytes()
    (index / name).symlink_to(target)
    for action in (open_reader, open_writer):
        with pytest.raises(IndexDamaged, match=r"is not a regular file|symbolic link"):
            action(index)
    assert target.read_bytes() == before


def test_the_index_itself_may_be_a_link(index: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    index.rename(tmp_path / "elsewhere" / "index")
    index.symlink_to(tmp_path / "elsewhere" / "index")
    with open_reader(find_index(None, str(tmp_path))) as reader:
        assert [Path(photo.file.path) for photo in reader.photos()] == [tmp_path / f"000{i}.jpg" for i in range(3)]


# the lock


def test_a_second_writer_is_told_who_writes(index: Path) -> None:
    with open_writer(index), pytest.raises(IndexLocked, match=f"process {os.getpid()} on ") as caught:
        open_writer(index)
    assert "--wait" in caught.value.hint
    assert not (index / "lock-holder").exists()
    open_writer(index).close()


def test_a_writer_can_wait(index: Path) -> None:
    first = open_writer(index)
    threading.Timer(0.2, first.close).start()
    open_writer(index, wait_seconds=20).close()


def test_a_dead_writer_leaves_no_lock(index: Path) -> None:
    child = os.fork()
    if not child:
        open_writer(index)
        os._exit(9)
    os.waitpid(child, 0)
    assert (index / "lock-holder").exists()
    open_writer(index).close()


def test_a_holder_that_cannot_be_read_is_no_trouble(index: Path) -> None:
    with open_writer(index):
        for said in (b"\xff{", b"[]", b"[" * 4096, b"9" * 4096):
            (index / "lock-holder").write_bytes(said)
            with pytest.raises(IndexLocked, match="unknown process"):
                open_writer(index)


def test_a_file_system_without_locks_is_an_error(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError, match="does not support locks"):
        open_writer(index)


# states in which an index is read


@pytest.fixture
def readable(tmp_path: Path) -> Iterator[Path]:
    """A directory that an unprivileged process can read, but not write."""
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == os.geteuid() and path != Path("/"):
            path.chmod(path.stat().st_mode | 0o055)
    place = tmp_path / "readable"
    place.mkdir(mode=0o755)
    yield place
    place.chmod(0o755)


@pytest.mark.parametrize("left", ["nothing", "empty wal", "wal and shm", "wal alone"])
def test_a_directory_that_cannot_be_written_is_read_to_the_last_commit(
    readable: Path, tmp_path: Path, left: str
) -> None:
    index, copy = tmp_path / ".facecli", readable / ".facecli"
    write(index, make_photos(tmp_path, 3))
    writer = open_writer(index)
    if "wal" in left and left != "empty wal":
        writer.commit(Batch(photos=(make_photo(tmp_path / "in-the-wal.jpg"),)))
    shutil.copytree(index, copy)
    writer.close()
    if left in ("nothing", "empty wal"):
        for path in copy.glob("catalog.db-*"):
            path.unlink()
    if left == "empty wal":
        (copy / "catalog.db-wal").touch()
    if left == "wal alone":
        (copy / "catalog.db-shm").unlink()
    for path in copy.iterdir():
        path.chmod(0o444)
    copy.chmod(0o555)
    before = sorted(path.name for path in copy.iterdir())

    def act() -> None:
        with open_reader(copy) as reader:
            assert len(list(reader.photos())) == (4 if left.startswith("wal") else 3)
            assert list(reader.check()) == []
        with pytest.raises(StoreError, match="cannot be opened or written"):
            open_writer(copy)

    assert drop_rights(act) == 0
    assert sorted(path.name for path in copy.iterdir()) == before


def test_a_journal_left_by_a_killed_writer_is_rolled_back(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a network file system a process dies in its transaction, after it wrote to the catalogue."""
    monkeypatch.setattr(connection, "is_network", lambda _: True)
    open_writer(index).close()
    with closing(sqlite3.connect(index / "catalog.db")) as base:
        assert base.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    child = os.fork()
    if not child:
        writer = open_writer(index)
        database = writer._writing.connection
        database.execute("PRAGMA cache_size = 1")
        database.execute("PRAGMA cache_spill = 1")
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE embeddings SET embedding = zeroblob(20000)")
        database.execute("UPDATE photos SET path = CAST(zeroblob(20000) || photo_id AS BLOB)")
        os._exit(9)
    os.waitpid(child, 0)
    assert (index / "catalog.db-journal").stat().st_size > 0
    with open_reader(index) as reader:
        assert [Path(photo.file.path).name for photo in reader.photos()] == ["0000.jpg", "0001.jpg", "0002.jpg"]
        assert list(reader.check()) == []


def test_on_a_network_file_system_the_journal_is_no_wal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "is_network", lambda _: True)
    index = tmp_path / ".facecli"
    write(index, make_photos(tmp_path, 3))
    with open_writer(index) as writer:
        writer.commit(Batch(photos=(make_photo(tmp_path / "new.jpg"),)))
        assert not (index / "catalog.db-wal").exists()
        assert writer.remove(writer.plan_removal([str(tmp_path / "0001.jpg")]))
    with open_reader(index) as reader:
        assert reader.info.photos == 3
    monkeypatch.setattr(connection, "is_network", lambda _: False)
    with open_writer(index) as writer:
        writer.commit(Batch(photos=(make_photo(tmp_path / "again.jpg"),)))
        assert (index / "catalog.db-wal").exists()


def test_the_kernels_table_of_mounts_is_read() -> None:
    table = b"""\
22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:45 / /mnt/nas\\040share rw - nfs4 host:/x rw
31 22 0:46 / /home/me/remote rw master:3 - fuse.sshfs host: rw
broken line
"""
    assert filesystem.mount_kinds(table) == {"0:21": "ext4", "0:45": "nfs4", "0:46": "fuse.sshfs"}
    assert filesystem.is_network(Path("/")) in (False, True)


# versions


def test_an_index_of_a_newer_facecli_is_refused(index: Path) -> None:
    database = sqlite3.connect(index / "catalog.db")
    database.execute(f"PRAGMA user_version = {len(schema.MIGRATIONS) + 1}")
    database.close()
    for action in (open_reader, open_writer):
        with pytest.raises(StoreError, match="newer facecli"):
            action(index)


def test_an_index_of_an_older_facecli_is_brought_up_to_date_after_a_copy(
    index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = (*schema.MIGRATIONS, "ALTER TABLE photos ADD COLUMN rating INTEGER NOT NULL DEFAULT 3;")
    for module in ("maintenance.prepare", "catalog.connection"):
        monkeypatch.setattr(f"facecli.store.{module}.MIGRATIONS", newer)
    copies: list[int] = []

    def at(step: str) -> None:
        if step == "after commit migration":
            with closing(sqlite3.connect(index / f"catalog.before-{len(schema.MIGRATIONS)}")) as copy:
                copies.append(copy.execute("SELECT count(*) FROM faces").fetchone()[0])

    with open_writer(index, at=at) as writer:
        assert writer._writing.number("SELECT rating FROM photos") == 3
    assert copies == [9]
    assert not (index / f"catalog.before-{len(schema.MIGRATIONS)}").exists()
    with open_reader(index) as reader:
        assert reader.info.schema == len(newer)
        assert list(reader.check()) == []


def test_an_index_of_0_1_0_is_read_as_it_is_and_written_after_it_is_brought_up_to_date(index: Path) -> None:
    with open_writer(index) as writer:
        writer.commit(Batch(skips=(Skipped(PhotoFile("/p/bad.jpg", 7, 8), SkipReason.TRUNCATED, "…"),)))
        writer.set_roots(["/p"], {"/p/usb": 5})
    make_first(index)
    with open_reader(index) as reader:
        before, skips = contents(reader), list(reader.skips())
        photo = next(reader.photos()).file
        assert (len(before), reader.info.schema) == (3, 1)
        assert list(reader.check()) == []
        assert (reader.roots(), reader.mounts()) == (("/p",), {"/p/usb": None})
        assert reader.excludes() == ()
        assert {row[3:5] for row in reader.stats_under("/")} == {(None, None)}
        assert reader.with_digest(before[0][0].digest)[0].file == photo  # type: ignore[attr-defined]
        assert reader.at("/p/bad.jpg") == KnownFile(None, skips[0].file, b"", skips[0])
    changed, bad = replace(photo, ctime_ns=5, inode=6), replace(skips[0].file, ctime_ns=7, inode=8)
    with open_writer(index) as writer:
        assert contents(writer) == before
        writer.note_changes([changed, bad])
        writer.note_changes([replace(changed, ctime_ns=50), replace(bad, inode=80)])
        known, skip = writer.at(changed.path), writer.at(bad.path)
        assert known is not None
        assert skip is not None
        assert (known.file, skip.file) == (changed, bad), "the record stays"
        assert list(writer.check()) == []


def make_first(index: Path) -> None:
    """Turn an index back into one that 0.1.0 made: its tables, and the columns that they had."""
    old, first = index / "catalog.db", index / "catalog.first"
    with closing(sqlite3.connect(first, isolation_level=None)) as base:
        schema.migrate(base, 1, schema.FIRST)
        base.execute("ATTACH ? AS late", (str(old),))
        tables = [
            name for (name,) in base.execute("SELECT name FROM main.sqlite_schema WHERE sql LIKE 'CREATE TABLE%'")
        ]
        for table in sorted(set(tables) - {"sqlite_sequence"}, key="sets".__eq__):  # `sets` counts the others' rows
            columns = ", ".join(row[1] for row in base.execute(f"PRAGMA main.table_info({table})"))
            base.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM late.{table}")
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (index / name).unlink(missing_ok=True)
    first.replace(old)


def test_a_migration_that_fails_changes_nothing(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("maintenance.prepare", "catalog.connection"):
        monkeypatch.setattr(
            f"facecli.store.{module}.MIGRATIONS",
            (*schema.MIGRATIONS, "CREATE TABLE extra (x); INSERT INTO nothing VALUES (1);"),
        )
    with pytest.raises(StoreError):
        open_writer(index)
    monkeypatch.undo()
    with open_reader(index) as reader:
        assert list(reader.check()) == []
    open_writer(index).close()
    assert not (index / f"catalog.before-{len(schema.MIGRATIONS)}").exists()


def test_a_search_of_a_small_index_imports_no_faiss(index: Path) -> None:
    script = (
        "import sys, numpy; from pathlib import Path; from facecli.config import By\n"
        "from facecli.store.reader import open_reader\n"
        "with open_reader(Path(sys.argv[1])) as reader:\n"
        "    assert reader.nearest(numpy.ones((1, 64), 'f4'), top=1, minimum=None, by=By.FACE)[0]\n"
        "print(sorted({'faiss', 'filelock', 'onnxruntime', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, index], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_writer_that_cannot_begin_leaves_no_connection(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[sqlite3.Connection] = []
    connect = writing.connect
    monkeypatch.setattr(writing, "connect", lambda *given, **more: opened.append(connect(*given, **more)) or opened[-1])  # type: ignore[func-returns-value]

    def fail(_: writing.IndexWriter) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(writing.IndexWriter, "settle", fail)
    with pytest.raises(StoreError, match="full"):
        open_writer(index)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")
