"""Measure the costs of an index as it grows: `python tests/benchmarks/scale.py [--faces 10000 100000 1000000]`.

Makes indexes of random faces, five per photo, over real (empty) files of the recorded size and time. Measures opening,
one query in a fresh process and in a warm one, also with a threshold, a commit of 1,000 faces in batches, a run that
finds nothing new (compared with `find -printf` over the same files), the removal of 100 photos with its proof, and the
check. Prints a table or JSON. Each figure is the best of several tries, except those that change the index.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from random_faces import KIND, batches, make_files, make_photo, random_faces

from facecli.config import By
from facecli.store.reader import open_reader
from facecli.store.records import Batch, Scope
from facecli.store.writer import IndexWriter, open_writer

FACES = 5
COLD = """
import sys, time; began = time.perf_counter()
import numpy; from pathlib import Path; from facecli.config import By; from facecli.store.reader import open_reader
query = numpy.frombuffer(sys.stdin.buffer.read(), "f4").reshape(1, -1)
with open_reader(Path(sys.argv[1])) as reader:
    reader.nearest(query, top=10, minimum=None, by=By.PHOTO)
print(time.perf_counter() - began)
"""


@dataclass(frozen=True)
class Row:
    """The figures of one size; seconds unless said otherwise."""

    faces: int
    photos: int
    megabytes: float
    opening: float
    opening_growth_mb: float
    """The growth of the process by opening the index."""
    query_cold: float
    query_warm: float
    query_threshold: float
    """A warm query with a threshold, which begins with a first pass where there are short codes."""
    adding_1000: float
    commit_ms: float
    """Milliseconds of one commit of 64 photos while the index was made."""
    no_op_run: float
    find_printf: float
    removing_100: float
    check: float


def some_batches(folder: Path, count: int, chance: np.random.Generator) -> Iterator[Batch]:
    """Photos of five random faces each."""
    return batches(make_photo(file, random_faces(chance, FACES)) for file in make_files(folder, count))


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def best(action: Callable[[], object], tries: int) -> float:
    return min(timed(action) for _ in range(tries))


def measure(home: Path, faces: int, tries: int) -> Row:
    """Make an index of a number of faces and measure it; `tries` are of calls, and new processes have half as many."""
    processes = (tries + 1) // 2
    index, album, chance = home / ".facecli", home / "album", np.random.default_rng(faces)
    with open_writer(index, KIND, create=True) as writer:
        writer.set_roots([str(album)], {})
        commits = [
            timed(lambda batch=batch: writer.commit(batch)) for batch in some_batches(album, faces // FACES, chance)
        ]
        writer.finish()
    with open_reader(index) as reader:
        assert reader.info.faces == faces
        photos = reader.info.photos
    before = memory_mb()
    opening = best(lambda: open_reader(index).close(), 4 * tries)
    growth = memory_mb() - before
    query = random_faces(chance, 1)
    cold = min(float(run([sys.executable, "-c", COLD, str(index)], query.tobytes())) for _ in range(processes))
    with open_reader(index) as reader:
        warm = best(lambda: reader.nearest(query, top=10, minimum=None, by=By.PHOTO), tries)
        scope = Scope(first_pass=0.12)
        over = best(lambda: reader.nearest(query, top=10, minimum=0.34, by=By.PHOTO, scope=scope), tries)
    no_op = best(lambda: run([sys.executable, "-m", "facecli", "index", "-q", "-i", str(index), str(album)]), processes)
    find = best(lambda: run(["find", str(album), "-printf", r"%p %s %T@\n"]), processes)
    size = sum(path.stat().st_size for path in index.iterdir()) / 1e6
    with open_writer(index) as writer:
        adding = sum(
            timed(lambda batch=batch: writer.commit(batch))
            for batch in some_batches(home / "more", 1000 // FACES, chance)
        )
        removing = timed(lambda: remove_some(writer, photos))
    check = timed(lambda: ask_sound(index))
    commit_ms = statistics.median(commits) * 1000
    return Row(faces, photos, size, opening, growth, cold, warm, over, adding, commit_ms, no_op, find, removing, check)


def remove_some(writer: IndexWriter, photos: int) -> None:
    """Remove 100 photos spread over the index, including the proof."""
    step = max(1, photos // 100)
    paths = [photo.file.path for number, photo in enumerate(writer.photos()) if number % step == 0][:100]
    if not writer.remove(writer.plan_removal(paths)):
        raise RuntimeError("the removal is not proved")


def ask_sound(index: Path) -> None:
    with open_reader(index) as reader:
        found = list(map(str, reader.check()))
    if found:
        raise RuntimeError(found[0])


def run(command: list[str], stdin: bytes = b"") -> str:
    """The output of a command, which must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FACECLI_")}
    return subprocess.run(command, input=stdin, capture_output=True, check=True, env=environment).stdout.decode()


def memory_mb() -> float:
    """The peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def table(rows: list[Row]) -> str:
    """The figures as a Markdown table, one column per size."""
    lines = [("faces (photos)", [f"{row.faces:,} ({row.photos:,})" for row in rows])]
    lines += [("size on disk", [f"{row.megabytes:,.0f} MB" for row in rows])]
    lines += [("opening", [f"{row.opening * 1000:.1f} ms" for row in rows])]
    lines += [("memory that the opening takes", [f"{row.opening_growth_mb:.1f} MB" for row in rows])]
    lines += [("one query, fresh process", [f"{row.query_cold * 1000:.0f} ms" for row in rows])]
    lines += [("one query with a threshold, warm", [f"{row.query_threshold * 1000:.1f} ms" for row in rows])]
    lines += [("one query, warm", [f"{row.query_warm * 1000:.1f} ms" for row in rows])]
    lines += [("adding 1,000 faces", [f"{row.adding_1000 * 1000:.0f} ms" for row in rows])]
    lines += [("one commit of 64 photos", [f"{row.commit_ms:.0f} ms" for row in rows])]
    lines += [("a run that finds nothing new", [f"{row.no_op_run:.2f} s" for row in rows])]
    lines += [("`find -printf` over the files", [f"{row.find_printf:.2f} s" for row in rows])]
    lines += [("removing 100 photos, proved", [f"{row.removing_100:.2f} s" for row in rows])]
    lines += [("check", [f"{row.check:.1f} s" for row in rows])]
    head = "| | " + " | ".join(lines[0][1]) + " |\n|---|" + "---|" * len(rows)
    return head + "".join(f"\n| {name} | " + " | ".join(cells) + " |" for name, cells in lines[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faces", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--tries", type=int, default=5, help="of which the best counts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--work", type=Path, help="where the indexes are made, and taken away again (2.5 GB for a million faces)"
    )
    asked = parser.parse_args()
    rows = []
    for faces in asked.faces:
        with tempfile.TemporaryDirectory(dir=asked.work) as home:
            rows.append(measure(Path(home), faces, asked.tries))
    sys.stdout.write((json.dumps([asdict(row) for row in rows]) if asked.json else table(rows)) + "\n")


if __name__ == "__main__":
    main()
