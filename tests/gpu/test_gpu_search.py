"""FAISS on real GPUs finds the same neighbours as on the CPU."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest

from facecli.config import By
from facecli.fingerprint import Fingerprint
from facecli.store.reader import open_reader
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.search import gpu
from facecli.store.writer import open_writer
from facecli.types import Detections, IndexedPhoto, PhotoFile

pytestmark = pytest.mark.gpu
DIMENSION, PHOTOS, FACES = 512, 300, 40


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """12,000 random faces."""
    chance = np.random.default_rng(1)
    photos = []
    for number in range(PHOTOS):
        vectors = chance.standard_normal((FACES, DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        corner = np.arange(FACES, dtype=np.float32)[:, None] * 50 + np.zeros((1, 2), np.float32)
        boxes = np.concatenate([corner, corner + 40], axis=1)
        found = Detections(
            boxes, np.full(FACES, 0.9, np.float32), np.zeros((FACES, 5, 2), np.float32), np.zeros(FACES, np.uint8)
        )
        photos.append(
            IndexedPhoto(
                PhotoFile(str(tmp_path / f"{number:04}.jpg"), 10, 10),
                number.to_bytes(16, "big"),
                3000,
                3000,
                found,
                vectors,
            )
        )
    kind = EmbeddingKind(Fingerprint("buffalo_sc", "d" * 64, "e" * 64, DIMENSION), "non-commercial research only")
    with open_writer(tmp_path / ".facecli", kind, create=True) as writer:
        writer.commit(Batch(photos=tuple(photos)))
        writer.finish()
    return tmp_path / ".facecli"


@pytest.mark.parametrize("by", list(By))
@pytest.mark.usefixtures("gpus")
def test_the_neighbours_are_those_of_the_processor(index: Path, by: By, monkeypatch: pytest.MonkeyPatch) -> None:
    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        pytest.fail("this FAISS has no GPU: faiss-cpu is installed, or CUDA's libraries are missing", pytrace=False)
    queries = np.random.default_rng(2).standard_normal((500, DIMENSION)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    with open_reader(index) as reader:
        wanted = reader.nearest(queries, top=10, minimum=None, by=by)
    monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0)
    monkeypatch.setattr(gpu, "COMPARISONS_FROM", 1000)
    monkeypatch.setattr(gpu, "SHARD_BYTES", 2 * DIMENSION * 5000)
    asked: list[int] = []
    search = gpu.FaissGpu.search

    def counting(self: gpu.FaissGpu, *arguments: object) -> object:
        found = search(self, *arguments)  # type: ignore[arg-type]
        asked.append(1)
        return found

    monkeypatch.setattr(gpu.FaissGpu, "search", counting)
    with open_reader(index) as reader:
        assert reader.nearest(queries, top=10, minimum=None, by=by) == wanted
    assert len(asked) >= 3
