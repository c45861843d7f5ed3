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
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scale import KIND, make_file, some_embeddings

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
from facecli.types import Detections, IndexedPhoto, IndexReport, PhotoFile

FOLDER = 1000


class Engine:
    """Answers at once: a photo of random faces, the same in every index."""

    def __init__(self, faces: int) -> None:
        chance = np.random.default_rng(5)
        corners = chance.uniform(0, 900, (faces, 2)).astype(np.float32)
        boxes = np.concatenate([corners, corners + 60], axis=1)
        marks = chance.uniform(0, 900, (faces, 5, 2)).astype(np.float32)
        self._found = Detections(boxes, np.full(faces, 0.8, np.float32), marks, np.zeros(faces, np.uint8))
        self._embeddings = some_embeddings(chance, max(1, faces) * 64)
        self._faces = faces

    def photo(self, file: PhotoFile) -> IndexedPhoto:
        number = file.mtime_ns % 10**18
        digest = np.random.default_rng(number).bytes(16)
        first = number % 63 * self._faces
        capture = Capture(1_000_000 * number, 120, 48.2, 16.4, "Canon", "Canon EOS 5D Mark III")
        embeddings = self._embeddings[first : first + self._faces]
        return IndexedPhoto(file, digest, 4000, 3000, self._found, embeddings, capture)


def make_files(folder: Path, count: int) -> None:
    for number in range(count):
        place = folder / f"{number // FOLDER:04}"
        place.mkdir(parents=True, exist_ok=True)
        make_file(place / f"IMG_{number:07}.jpg", number)


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


def file_at(album: Path, number: int) -> PhotoFile:
    return PhotoFile(str(album), 1, 10**18 + number)


def cpu(action: Callable[[], object]) -> float:
    """The CPU seconds of this process for an action."""
    began = time.process_time()
    action()
    return time.process_time() - began


def measure(work: Path, photos: int, faces: int, parts: int) -> dict[str, Any]:
    album, engine = work / "album", Engine(faces)
    make_files(album, photos)
    engine_alone = cpu(lambda: [len(engine.photo(file_at(album, n)).embeddings) for n in range(photos)])
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
