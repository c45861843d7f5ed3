"""Compare indexes to the bit, and watch the processes of a run."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PATIENCE = 180.0
"""Seconds after which what should happen in a few counts as never: a busy machine is slow."""
TABLES = {
    "photos": "photo_id, set_id, digest, path, size, mtime_ns, ctime_ns, inode, width, height, again, checksum",
    "faces": "face_id, set_id, photo_id, slot, box, score, found_by, landmarks, checksum",
    "embeddings": "face_id, embedding",
    "skips": "path, size, mtime_ns, reason, detail, refused_by",
    "roots": "path, mount",
}


def contents(index: Path) -> dict[str, list[tuple[object, ...]]]:
    """All rows that a run makes, and the codes for searches."""
    with closing(sqlite3.connect(f"file:{index / 'catalog.db'}?mode=ro", uri=True)) as base:
        base.text_factory = bytes
        found = {
            table: base.execute(f"SELECT {columns} FROM {table} ORDER BY 1").fetchall()
            for table, columns in TABLES.items()
        }
    # The beginning of a vector file has a number of its own.
    return found | {"codes": [(path.read_bytes()[81:],) for path in sorted(index.glob("vectors-*"))]}


def count_photos(index: Path) -> int:
    """The committed photos; 0 while there is no index."""
    try:
        with closing(sqlite3.connect(f"file:{index / 'catalog.db'}?mode=ro", uri=True)) as base:
            return int(base.execute("SELECT count(*) FROM photos").fetchone()[0])
    except sqlite3.Error:
        return 0


def wait_for(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until something is so; fails after a while."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def reach(process: subprocess.Popen[bytes], condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait until a command has come so far; fails with what it says, if it ends before."""
    wait_for(lambda: condition() or process.poll() is not None, seconds)
    assert condition(), process.communicate()[1].decode("utf-8", "replace")


def command_of(pid: int) -> str:
    """The command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
    except OSError:
        return ""


def processes_below(pid: int) -> list[int]:
    """All processes below one."""
    parents = {int(name): _parent_of(int(name)) for name in os.listdir("/proc") if name.isdigit()}
    found, new = list[int](), [pid]
    while new:
        new = [child for child, parent in parents.items() if parent in new]
        found += new
    return found


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
