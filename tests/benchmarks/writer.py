"""Measure the one writer: `python tests/benchmarks/writer.py [--photos 20000] [--faces 5] [--parts 4]`.

Three figures, in CPU seconds of this process. The driver of a run, with an engine that answers at once: files are
walked, compared with the index, taken as read and committed. The same into an index of parts. And the merge of these
parts into a new index. Faces are random; the files are real and empty. The index is made in --folder, by default one
for temporary files.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from random_faces import KIND, make_files, make_photo, random_faces

from facecli.captures import Capture
from facecli.config import IndexOptions, ScanOptions
from facecli.indexing.batch_writer import BatchWriter
from facecli.indexing.change_detector import ChangeDetector
from facecli.indexing.diff import Pair
from facecli.indexing.outcomes import FileOutcome, FileTask, Fresh
from facecli.indexing.parts import membership
from facecli.merging import MergeRequest, merge_indexes
from facecli.photos.scan import Scan
from facecli.pipeline.clock import StageClock
from facecli.store.writer import open_writer
from facecli.types import IndexedPhoto, IndexReport, PhotoFile


class Engine:
    """Answers at once: a photo of random faces, the same in every index."""

    def __init__(self, faces: int) -> None:
        self._embeddings = random_faces(np.random.default_rng(5), max(1, faces) * 64)
        self._faces = faces

    def photo(self, file: PhotoFile) -> IndexedPhoto:
        number = file.mtime_ns % 10**18
        first = number % 63 * self._faces
        capture = Capture(1_000_000 * number, 120, 48.2, 16.4, "Canon", "Canon EOS 5D Mark III")
        return make_photo(file, self._embeddings[first : first + self._faces], capture)


def no_second_look(task: FileTask) -> FileOutcome:
    raise AssertionError(task.file.path)


def index_all(album: Path, index: Path, engine: Engine, part: str = "") -> None:
    """Do what a run does besides its engine."""
    with open_writer(index, KIND, create=True) as store:
        report = IndexReport(str(index), "scale")
        store.set_part(part)
        scan = Scan([str(album)], ScanOptions())
        scan.wanted = membership(part, [str(album)])
        writer = BatchWriter(store, report, StageClock(), None)
        for entry in ChangeDetector(IndexOptions(), scan, store, report):
            if isinstance(entry, Pair) and isinstance(entry.found, PhotoFile):
                photo = engine.photo(entry.found)
                writer.take(Fresh(photo, entry.known), no_second_look)
        writer.commit()
        store.set_roots([str(album)], {})
        store.finish()


def cpu(action: Callable[[], object]) -> float:
    """The CPU seconds of this process for an action."""
    began = time.process_time()
    action()
    return time.process_time() - began


def measure(work: Path, photos: int, faces: int, parts: int) -> dict[str, Any]:
    album, engine = work / "album", Engine(faces)
    files = list(make_files(album, photos))
    engine_alone = cpu(lambda: deque(map(engine.photo, files), maxlen=0))
    whole = cpu(lambda: index_all(album, work / "whole", engine)) - engine_alone
    shards = [work / f"part-{number}" for number in range(1, parts + 1)]
    for number, shard in enumerate(shards, 1):
        index_all(album, shard, engine, f"{number}/{parts}")
    request = MergeRequest(str(work / "all"), tuple(map(str, shards)))
    merging = cpu(lambda: merge_indexes(request))
    again = cpu(lambda: merge_indexes(request))
    return {
        "photos": photos,
        "faces": photos * faces,
        "parts": parts,
        "driver_photos_per_cpu_second": round(photos / whole),
        "merge_cpu_seconds_per_million_faces": round(merging / (photos * faces) * 1e6, 1),
        "merge_again_cpu_seconds_per_million_faces": round(again / (photos * faces) * 1e6, 1),
        "largest_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
    }


def main() -> None:
    """Measure, and print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("--faces", type=int, default=5, help="faces per photo")
    parser.add_argument("--parts", type=int, default=4)
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as work:
        figures = measure(Path(work), options.photos, options.faces, options.parts)
    sys.stdout.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
