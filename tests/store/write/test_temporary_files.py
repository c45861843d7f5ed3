"""No data of an index is written outside it: SQLite's temporary files could hold removed data."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT|TMPFILE)|^\S*\s*creat\(")
OPENED = re.compile(r"= \d+<(.*?)>(?:\s*\(deleted\))?$")
FINE = re.compile(r"/dev/(null|tty|urandom|shm/.*)|/proc/.*|pipe:.*|socket:.*|anon_inode:.*")
"""File systems that are empty after the process has ended."""

MAKE = """
from synthetic import KIND, make_photo, write
write(index, [make_photo(index.parent / f"{i}.jpg", 400, dimension=64) for i in range(80)])
"""
REMOVE = """
with open_writer(index) as writer:
    writer.remove(writer.plan_removal([str(index.parent / "1.jpg"), str(index.parent / "2.jpg")]), wait_readers=0)
"""
MIGRATE = """
from synthetic import OTHER_KIND, make_photo
from facecli.store.records import Batch
with open_writer(index) as writer:
    writer.begin_migration(OTHER_KIND)
    writer.commit(Batch(photos=tuple(make_photo(index.parent / f"{i}.jpg", 400) for i in range(80))))
    writer.finish_migration(drop_unreachable=True)
    writer.finish()
"""
DAMAGE = """
import sqlite3
base = sqlite3.connect(index / "catalog.db")
base.execute("UPDATE faces SET score = 2 WHERE face_id % 2")
base.execute("UPDATE photos SET set_id = 9 WHERE photo_id = 3")
base.commit()
base.close()
"""
REPAIR = "repair_index(index)"
READ = """
with open_reader(index) as reader:
    list(reader.check()), list(reader.photos())
"""
LARGE = """
from facecli.store.catalog import connection
from facecli.store.write import erasure
connection.CACHE_KB, erasure.SMALL, erasure.Residue.found_in = 1000, 0, lambda *_: True
"""
"""Treat every catalogue as a large one with leftovers, so that it is rewritten through a file."""


def run(index: Path, work: str, *before: str) -> None:
    script = f"import sys; sys.path.insert(0, sys.argv[2]); from pathlib import Path; index = Path(sys.argv[1])\n{work}"
    stores = (
        "from facecli.store.reader import open_reader\nfrom facecli.store.writer import open_writer, repair_index\n"
    )
    script = stores + script
    subprocess.run(
        [*before, sys.executable, "-B", "-c", script, index, Path(__file__).parents[1]], check=True, timeout=300
    )


@pytest.mark.parametrize("large", [False, True], ids=["small", "large"])
@pytest.mark.parametrize("work", [REMOVE, MIGRATE, REPAIR, READ], ids=["remove", "migrate", "repair", "read"])
def test_no_file_outside_the_index_is_opened_for_writing(tmp_path: Path, work: str, *, large: bool) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    index, log = tmp_path / "album" / ".facecli", tmp_path / "calls"
    index.parent.mkdir()
    run(index, MAKE + (DAMAGE if work == REPAIR else ""))
    run(
        index,
        (LARGE if large else "") + work,
        "strace",
        "-f",
        "-qq",
        "-y",
        "-e",
        "trace=openat,open,creat",
        "-o",
        str(log),
    )
    lines = [line for line in log.read_text(errors="replace").splitlines() if WRITES.search(line)]
    opened = [found[1] for line in lines if (found := OPENED.search(line))]
    assert any(path.startswith(str(index)) for path in opened) or work == READ
    assert [path for path in opened if not path.startswith(f"{index}/") and not FINE.fullmatch(path)] == []
    if large and work != READ:
        assert any("etilqs" in path for path in opened), "the catalogue was rewritten in memory"


def test_a_temporary_file_elsewhere_would_be_seen(tmp_path: Path) -> None:
    """The test harness: with SQLite's defaults, a removal writes to the directory for temporary files."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    index, log = tmp_path / "album" / ".facecli", tmp_path / "calls"
    index.parent.mkdir()
    run(index, MAKE)
    asked = "import facecli.store.writer as w; real = w.prepare\n"
    asked += "def prepare(*a, **k):\n o = real(*a, **k)\n"
    asked += " o.catalogue.connection.execute('PRAGMA temp_store = FILE'); return o\n"
    run(
        index,
        f"{asked}w.prepare = prepare\n{REMOVE}",
        "strace",
        "-f",
        "-qq",
        "-y",
        "-e",
        "trace=openat,open,creat",
        "-o",
        str(log),
    )
    assert re.search(r"/(?!album)[^<]*etilqs", log.read_text(errors="replace"))
