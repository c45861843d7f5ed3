"""Measure searches of large files of codes: `python tests/benchmarks/search_scale.py [--faces 100000 1000000]`.

Makes a vector file and a compact file of random faces, distributed as those of a real index if one is given (--real).
Compares in one run the scan of facecli 0.1 (FAISS over the whole file; numpy in small ones) with that on all processors
and with a first pass: one query with a warm and with a cold disk cache, in a new process, and a hundred queries. There
is no catalogue: a stand-in answers what the scans ask of it. With --real also prints the recall of the first pass over
all pairs of faces, and over those with the faces of --hard, an index of worse photos.

Needs 1.1 KB of disk a face below --work, and about 1 GB of memory beside the disk cache.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from random_faces import random_faces, unit
from search_once import DIMENSION, ERROR, MARK, THRESHOLD, WAYS, ways_of

from facecli.store import vector_writer
from facecli.store.disk.durable import Disk
from facecli.store.reader import open_reader
from facecli.store.search import backends
from facecli.store.short_codes import encode, estimate, make_estimator
from facecli.store.vector_file import VectorFile
from facecli.store.vector_writer import VectorWriter
from facecli.types import FloatArray

BLOCK, DISTINCT = 1 << 14, 1 << 20
THRESHOLDS, SAME = (0.28, 0.34, 0.4), 0.9999
BARE = "import numpy, cv2, onnxruntime, faiss"
COLD = f"{BARE}; import sys; sys.path.insert(0, sys.argv[1]); import search_once; search_once.ask_once(sys.argv[2:])"


@dataclass(frozen=True)
class Times:
    """Milliseconds of one way to search."""

    warm: float
    warm_cpu: float
    cold_cache: float
    hundred_cpu: float
    """Processor time of 100 queries."""


@dataclass(frozen=True)
class Row:
    """The figures of one size."""

    faces: int
    megabytes: float
    compact_megabytes: float
    encoding_us: float
    """Processor time of making a short code, in microseconds."""
    before: Times
    exact: Times
    first_pass: Times
    candidates: float
    """Faces that the first pass leaves to compare, in the median."""
    process: tuple[float, ...]
    """A new process that searches with a first pass: wall and processor time, in milliseconds."""
    bare_imports: tuple[float, ...]


def faces_like(real: FloatArray | None, chance: np.random.Generator) -> Callable[[int], FloatArray]:
    """A source of random faces: unit vectors with the mean and covariance of real ones, or of any direction."""
    if real is None:
        return lambda count: random_faces(chance, count)
    mean, spread = real.mean(axis=0), np.linalg.cholesky(np.cov(real.T) + 1e-6 * np.eye(DIMENSION)).astype(np.float32)
    return lambda count: unit(mean + chance.standard_normal((count, DIMENSION), np.float32) @ spread.T)


def blocks(source: Callable[[int], FloatArray], real: FloatArray | None, count: int) -> Iterator[Any]:
    """Codes of real faces, then of random ones; beyond a million these are repeated."""
    made = [source(min(BLOCK, count - start)).astype("<f2") for start in range(0, min(count, DISTINCT), BLOCK)]
    if real is not None:
        made[0][: len(real)] = real[: len(made[0])].astype("<f2")
    left = count
    while left:
        for block in made:
            yield block[:left]
            left -= min(left, len(block))


def make_files(folder: Path, count: int, real: FloatArray | None) -> tuple[VectorFile, float]:
    """The files of so many faces, and the processor time in microseconds of a short code."""
    file = VectorFile(folder, 1, MARK, DIMENSION)
    source = faces_like(real, np.random.default_rng(count))
    VectorWriter.create(file, Disk(), blocks(source, real, count)).close()
    some = source(BLOCK).astype("<f2")
    taken = best(lambda: encode(some), 3)[1]
    writer = VectorWriter.open(file, Disk(), count)
    writer.catch_up(count)
    writer.close()
    return file, taken * 1000 / BLOCK


def queries_of(file: VectorFile, count: int, faces: int) -> FloatArray:
    """Queries that are a little unlike faces of the file."""
    chance = np.random.default_rng(7)
    codes = file.read(faces)
    chosen = codes.at(chance.integers(0, min(faces, BLOCK), count)).astype(np.float32)
    return unit(chosen + chance.standard_normal(chosen.shape, np.float32) * np.float32(0.03))


def best(action: Callable[[], object], tries: int = 7) -> tuple[float, float]:
    """The least wall time and the least processor time of an action, in milliseconds."""
    taken = []
    for _ in range(tries):
        wall, cpu = time.perf_counter(), time.process_time()
        action()
        taken.append((time.perf_counter() - wall, time.process_time() - cpu))
    return min(t for t, _ in taken) * 1000, min(t for _, t in taken) * 1000


def drop_cached(folder: Path) -> None:
    """Drop all files of a folder from the disk cache; no process may have mapped them."""
    for path in folder.iterdir():
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def make_compact_from(faces: int) -> None:
    """Let short codes begin with so many faces."""
    vector_writer.COMPACT_FROM = backends.FAISS_FROM = faces


def in_new_process(folder: Path, faces: int, way: str, *, cold: bool) -> tuple[float, float, float]:
    """Search in a new process: the milliseconds of the search, of the process, and its processor time."""
    if cold:
        drop_cached(folder)
    command = [sys.executable, "-c", COLD, str(Path(__file__).parent), str(folder), str(faces), way]
    command += [str(vector_writer.COMPACT_FROM)]
    return _run(command)


def _run(command: list[str]) -> tuple[float, float, float]:
    before_it, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before_it.ru_utime - before_it.ru_stime
    return float(out or 0), wall * 1000, cpu * 1000


def measure(folder: Path, faces: int, real: FloatArray | None, tries: int) -> Row:
    file, encoding = make_files(folder, faces, real)
    one, many = queries_of(file, 1, faces), queries_of(file, 100, faces)
    np.save(folder / "query.npy", one)
    cold = [_cold(folder, faces, way, (tries + 1) // 2) for way in WAYS]
    processes = [in_new_process(folder, faces, WAYS[-1], cold=False) for _ in range(tries)]
    bare = [_run([sys.executable, "-c", BARE]) for _ in range(tries)]
    ways = [opening() for opening in ways_of(file, faces)]
    for way in ways:
        way(one)
    warm = [best(lambda way=way: way(one)) for way in ways]
    hundred = [best(lambda way=way: way(many), 1)[1] if faces <= DISTINCT else float("nan") for way in ways]
    sizes = [one.path.stat().st_size / 1e6 if one.path.exists() else 0.0 for one in (file, file.compact)]
    times = [Times(w[0], w[1], c, h) for w, c, h in zip(warm, cold, hundred, strict=True)]
    ours, imports = (tuple(min(run[i] for run in runs) for i in (1, 2)) for runs in (processes, bare))
    return Row(faces, *sizes, encoding, *times, _candidates(file, many), ours, imports)


def _cold(folder: Path, faces: int, way: str, tries: int) -> float:
    """The milliseconds of a search with a cold disk cache; not measured where it would read gigabytes."""
    if faces > DISTINCT and way != WAYS[-1]:
        return float("nan")
    return min(in_new_process(folder, faces, way, cold=True)[0] for _ in range(tries))


def _candidates(file: VectorFile, queries: FloatArray) -> float:
    if not file.compact.path.exists():
        return float("nan")
    codes: Any = faiss.read_index(str(file.compact.path), faiss.IO_FLAG_MMAP_IFC)
    index = make_estimator(DIMENSION)
    index.codes, index.ntotal = codes.codes, codes.ntotal
    limits, _, _ = index.range_search(queries[:20], THRESHOLD - ERROR)
    return float(np.median(np.diff(limits.astype(np.int64))))


# recall


def read_faces(index: str) -> FloatArray:
    """All embeddings of an index: float32 (n, d)."""
    with open_reader(index) as reader:
        return np.stack([face.embedding for face in reader.faces()])


def recall(queries: FloatArray, faces: FloatArray) -> dict[str, dict[str, float]]:
    """For each threshold: pairs at or over it, the largest underestimate among them, and how many each error misses."""
    codes, found = encode(faces.astype("<f2")), []
    for start in range(0, len(queries), 256):
        some = queries[start : start + 256]
        similar, estimates = some @ faces.T, estimate(some, codes)
        chosen = (similar >= min(THRESHOLDS)) & (similar < SAME)
        found.append(np.stack([similar[chosen], estimates[chosen]]))
    similar, estimates = np.concatenate(found, axis=1)
    return {f"{threshold}": _told(similar, estimates, threshold) for threshold in THRESHOLDS}


def _told(similar: FloatArray, estimates: FloatArray, threshold: float) -> dict[str, float]:
    over = similar >= threshold
    missed = {f"missed with {e}": int((over & (estimates < threshold - e)).sum()) for e in (0.06, 0.08, 0.10, ERROR)}
    return {"pairs": int(over.sum()), "largest": float((similar - estimates)[over].max(initial=0)), **missed}


def table(rows: list[Row]) -> str:
    """The figures as a Markdown table, one column per size."""
    lines = [("faces", [f"{row.faces:,}" for row in rows])]
    lines += [("vector file, compact file", [f"{r.megabytes:,.0f} MB, {r.compact_megabytes:,.0f} MB" for r in rows])]
    for name, pick in (
        ("facecli 0.1", lambda row: row.before),
        ("all faces, all processors", lambda row: row.exact),
        ("after a first pass", lambda row: row.first_pass),
    ):
        lines += [(f"one query, {name}", [f"{pick(r).warm:.1f} ms ({pick(r).warm_cpu:.1f} ms CPU)" for r in rows])]
        lines += [(f"— with a cold disk cache, {name}", [f"{pick(r).cold_cache:.0f} ms" for r in rows])]
        lines += [(f"— 100 queries, CPU, {name}", [f"{pick(r).hundred_cpu / 1000:.2f} s" for r in rows])]
    lines += [("faces that the first pass leaves", [f"{row.candidates:,.0f}" for row in rows])]
    for name, pick in (("a new process", lambda row: row.process), ("only its imports", lambda row: row.bare_imports)):
        lines += [(name, [f"{pick(row)[0]:.0f} ms ({pick(row)[1]:.0f} ms CPU)" for row in rows])]
    head = "| | " + " | ".join(lines[0][1]) + " |\n|---|" + "---|" * len(rows)
    return head + "".join(f"\n| {name} | " + " | ".join(cells) + " |" for name, cells in lines[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faces", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--compact-from", type=int, default=vector_writer.COMPACT_FROM, help="for a quick trial")
    parser.add_argument("--real", metavar="INDEX", help="an index of real faces")
    parser.add_argument("--hard", metavar="INDEX", help="an index of worse photos of the same people")
    parser.add_argument("--tries", type=int, default=5, help="processes of which the best counts")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", type=Path, help="where the files are made, and taken away again")
    asked = parser.parse_args()
    make_compact_from(asked.compact_from)
    real = read_faces(asked.real) if asked.real else None
    rows = []
    for faces in asked.faces:
        with tempfile.TemporaryDirectory(dir=asked.work) as folder:
            rows.append(measure(Path(folder), faces, real, asked.tries))
    recalls = {} if real is None else {"all pairs": recall(real, real)}
    if real is not None and asked.hard:
        recalls["hard queries"] = recall(read_faces(asked.hard), real)
    told = json.dumps({"sizes": [asdict(row) for row in rows], "recall": recalls}, indent=1)
    sys.stdout.write(told if asked.json else f"{table(rows) if rows else ''}\n{json.dumps(recalls, indent=1)}\n")


if __name__ == "__main__":
    main()
