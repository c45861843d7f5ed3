"""Measure many searches at once of an index of random faces, on the processor and on GPUs.

`python gpu_search.py make DIR FACES` makes the index, about a minute for a million faces. `python gpu_search.py measure
DIR FACES DEVICE` makes it where it is missing, measures and prints one JSON object. For the device `cpu` an imitation
takes the place of FAISS on GPUs.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from gpu_choices import open_devices
from random_faces import make_index, make_photo, random_faces

from facecli.config import By, SearchOptions
from facecli.reporting import SilentReporter
from facecli.searching.gathering import Surroundings
from facecli.searching.search import IndexSearch
from facecli.store.reader import IndexReader, open_reader
from facecli.store.search import backends, gpu
from facecli.types import FloatArray, IndexedPhoto, PhotoFile

OF_A_PHOTO, DISTINCT = 100, 1 << 16
TOP, SEARCHES, AT_ONCE = 10, 1000, (64, 256, 1000)
NEVER = 1 << 62


def photos_of(faces: int) -> Iterator[IndexedPhoto]:
    """Photos of random faces, a hundred to a photo; each of 65,536 vectors comes again with turned axes."""
    pool = random_faces(np.random.default_rng(1), min(faces, DISTINCT))
    for first in range(0, faces, OF_A_PHOTO):
        numbers = np.arange(first, min(first + OF_A_PHOTO, faces))
        vectors = np.roll(pool[numbers % len(pool)], first // len(pool), axis=1)
        yield make_photo(PhotoFile(f"/made/by/chance/{first:08d}.jpg", 1, 2), vectors)


def timed(action: Callable[[], Any]) -> tuple[float, Any]:
    """The seconds of an action, and what it gives."""
    began = time.perf_counter()
    given = action()
    return round(time.perf_counter() - began, 4), given


def search_as_users_do(reader: IndexReader, faces: int) -> list[Any]:
    """The answers to `face:ID` queries, as `facecli search` asks them."""
    around = Surroundings("/", io.BytesIO(), SilentReporter())
    search = IndexSearch(reader, SearchOptions(threshold="none", top=TOP), around)
    return list(search.answer([f"face:{number}" for number in range(1, faces + 1, max(1, faces // SEARCHES))]))


def use_gpus(*, always: bool) -> None:
    """Let scans use GPUs for all queries, or for none."""
    gpu.QUERIES_FROM = gpu.COMPARISONS_FROM = 0 if always else NEVER
    backends.FAISS_FROM = 0


def count_shards() -> list[int]:
    """From now on, the number of queries of each scan that a GPU has done; the processor does one that fails."""
    search, done = gpu.FaissGpu.search, list[int]()

    def counting(self: gpu.FaissGpu, queries: Any, *rest: Any) -> Any:
        found = search(self, queries, *rest)
        done.append(len(queries))
        return found

    gpu.FaissGpu.search = counting  # type: ignore[method-assign]
    return done


def compare(reader: IndexReader, queries: FloatArray, done: list[int]) -> dict[str, Any]:
    """Seconds of so many queries at once on the processor and, first and again, on GPUs; whether they find the same."""
    done.clear()

    def ask() -> Any:
        return reader.nearest(queries, top=TOP, minimum=None, by=By.PHOTO)

    use_gpus(always=False)
    processor, expected = timed(ask)
    use_gpus(always=True)
    (first, found), (again, _) = timed(ask), timed(ask)
    return {
        "queries": len(queries),
        "cpu": processor,
        "gpu": [first, again],
        "shards": len(done),
        "same": found == expected,
    }


def measure(index: Path, faces: int) -> dict[str, Any]:
    """All figures of an index."""
    making = 0.0 if index.exists() else timed(lambda: make_index(index, photos_of(faces)))[0]
    queries = random_faces(np.random.default_rng(2), max(AT_ONCE))
    record: dict[str, Any] = {"faces": faces, "making_seconds": making}
    with open_reader(index) as reader:
        seconds, answers = timed(lambda: search_as_users_do(reader, faces))
        record |= {"face_queries": len(answers), "face_queries_seconds": seconds}
    record["gpus"] = getattr(faiss, "get_num_gpus", lambda: 0)()
    if record["gpus"]:
        done = count_shards()
        with open_reader(index) as reader:
            record["at_once"] = [compare(reader, queries[:count], done) for count in AT_ONCE if count <= faces]
    return record


def main() -> None:
    """Make the index, or measure and print."""
    what, place, faces = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if what == "make":
        make_index(place, photos_of(faces))
        return
    open_devices(sys.argv[4])
    sys.stdout.write(json.dumps(measure(place, faces)) + "\n")


if __name__ == "__main__":
    main()
