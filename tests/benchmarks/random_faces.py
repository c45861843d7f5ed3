"""Random faces in photos that show them in a row, for benchmarks of indexes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path

import numpy as np

from facecli.captures import Capture
from facecli.fingerprint import Fingerprint
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.writer import open_writer
from facecli.types import Detections, FloatArray, IndexedPhoto, PhotoFile

DIMENSION, BATCH, OF_A_FOLDER = 512, 64, 1000
KIND = EmbeddingKind(Fingerprint("chance", "d" * 64, "e" * 64, DIMENSION), "made by chance")
WITHOUT_DATE = Capture()
"""Not None, for which the next run would look into every file."""


def unit(numbers: FloatArray) -> FloatArray:
    """Scale rows of numbers (n, d) to unit length."""
    return np.asarray(numbers / np.linalg.norm(numbers, axis=1, keepdims=True), np.float32)


def random_faces(chance: np.random.Generator, count: int) -> FloatArray:
    """Embeddings of any direction, float32 (`count`, 512)."""
    return unit(chance.standard_normal((count, DIMENSION), np.float32))


def make_photo(file: PhotoFile, embeddings: FloatArray, capture: Capture = WITHOUT_DATE) -> IndexedPhoto:
    """A photo of faces with these embeddings, float32 (n, 512); its content follows from its path."""
    digest = hashlib.blake2b(os.fsencode(file.path), digest_size=16).digest()
    return IndexedPhoto(file, digest, 8000, 3000, _row(len(embeddings)), embeddings, capture)


@cache
def _row(count: int) -> Detections:
    corners = np.zeros((count, 2), np.float32)
    corners[:, 0] = np.arange(count) * 70
    boxes = np.concatenate([corners, corners + 60], axis=1)
    marks = corners[:, None] + np.linspace(10, 50, 5, dtype=np.float32)[:, None]
    return Detections(boxes, np.full(count, 0.8, np.float32), marks, np.zeros(count, np.uint8))


def make_files(folder: Path, count: int) -> Iterator[PhotoFile]:
    """Sparse files of a photo's size, each with its own time, a thousand to a folder; they are never read."""
    for number in range(count):
        place = folder / f"{number // OF_A_FOLDER:04}"
        place.mkdir(parents=True, exist_ok=True)
        path, size, time = place / f"IMG_{number:07}.jpg", 2_000_000 + number, 10**18 + number
        with path.open("wb") as file:
            file.truncate(size)
        os.utime(path, ns=(time, time))
        yield PhotoFile(str(path), size, time)


def batches(photos: Iterable[IndexedPhoto]) -> Iterator[Batch]:
    """Photos as they are committed, some at a time."""
    rest = iter(photos)
    while some := tuple(islice(rest, BATCH)):
        yield Batch(photos=some)


def make_index(target: Path, photos: Iterable[IndexedPhoto]) -> None:
    """A new index of photos."""
    with open_writer(target, KIND, create=True) as writer:
        for batch in batches(photos):
            writer.commit(batch)
        writer.finish()
