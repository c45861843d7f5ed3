"""FAISS on real GPUs finds the same neighbours as on the CPU."""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
import pytest
from random_faces import DIMENSION, make_index, make_photo, random_faces

from facecli.config import By
from facecli.store.reader import open_reader
from facecli.store.search import gpu
from facecli.types import PhotoFile

pytestmark = pytest.mark.gpu
PHOTOS, FACES = 300, 40


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """12,000 random faces."""
    chance, place = np.random.default_rng(1), tmp_path / ".facecli"
    files = (PhotoFile(str(tmp_path / f"{number:04}.jpg"), 10, 10) for number in range(PHOTOS))
    make_index(place, (make_photo(file, random_faces(chance, FACES)) for file in files))
    return place


@pytest.mark.parametrize("by", list(By))
@pytest.mark.usefixtures("gpus")
def test_the_neighbours_are_those_of_the_processor(index: Path, by: By, monkeypatch: pytest.MonkeyPatch) -> None:
    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        pytest.fail("this FAISS has no GPU: faiss-cpu is installed, or CUDA's libraries are missing", pytrace=False)
    queries = random_faces(np.random.default_rng(2), 500)
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
