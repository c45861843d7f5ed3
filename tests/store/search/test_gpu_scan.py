"""Many queries on (fake) GPUs give the same neighbours as the CPU, and few queries do not use GPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic import DIMENSION, at_path, make_photos, photo_id, unit, write

from facecli.config import By
from facecli.store.reader import open_reader
from facecli.store.search import gpu, ranking
from facecli.store.writer import open_writer
from facecli.types import FloatArray

FACES = 360


@dataclass
class FakeGpus:
    """FAISS on GPUs, imitated with numpy; records the calls of each GPU."""

    count: int
    fails: bool = False
    asked: list[tuple[int, int, int]] = field(default_factory=list)
    """GPU, number of queries, number of codes of each call."""

    def get_num_gpus(self) -> int:
        return self.count

    def resources(self) -> Any:
        return self

    def setTempMemory(self, size: int) -> None:  # noqa: N802 (the library's name)
        assert size == gpu.TEMPORARY_BYTES

    def search(
        self,
        _resources: Any,
        queries: NDArray[np.float16],
        codes: NDArray[np.float16],
        count: int,
        *,
        metric: int,
        device: int,
    ) -> tuple[FloatArray, NDArray[np.int64]]:
        if self.fails:
            raise RuntimeError("Error: 'err == cudaSuccess' failed: out of memory")
        assert (queries.dtype, codes.dtype, metric) == (np.float16, np.float16, faiss.METRIC_INNER_PRODUCT)
        assert count <= min(len(codes), gpu.MOST_CANDIDATES)
        self.asked.append((device, len(queries), len(codes)))
        rough = queries.astype(np.float32) @ codes.astype(np.float32).T
        places = np.argsort(-rough, axis=1)[:, :count]
        return np.take_along_axis(rough, places, axis=1), places


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """120 photos with three faces each, of which some were dropped, and two copies."""
    photos = make_photos(tmp_path, 120)
    write(
        tmp_path / ".facecli",
        [*photos, at_path(photos[7], tmp_path / "copy.jpg"), at_path(photos[90], tmp_path / "another.jpg")],
    )
    with open_writer(tmp_path / ".facecli") as writer:
        writer.prune([photo_id(writer, photos[i].file.path) for i in (3, 4, 50)])
        writer.finish()
    return tmp_path / ".facecli"


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeGpus]:
    """A function that gives FAISS some GPUs, and lowers the numbers of queries and codes from which they are used."""

    def give(count: int, *, fails: bool = False) -> FakeGpus:
        fake = FakeGpus(count, fails)
        monkeypatch.setattr(faiss, "get_num_gpus", fake.get_num_gpus, raising=False)
        monkeypatch.setattr(faiss, "StandardGpuResources", fake.resources, raising=False)
        monkeypatch.setattr(faiss, "knn_gpu", fake.search, raising=False)
        monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0)
        monkeypatch.setattr(gpu, "QUERIES_FROM", 8)
        monkeypatch.setattr(gpu, "COMPARISONS_FROM", 1000)
        monkeypatch.setattr(gpu, "SHARD_BYTES", 2 * DIMENSION * 100)
        return fake

    return give


def queries(count: int) -> FloatArray:
    return unit(np.random.default_rng(3).standard_normal((count, DIMENSION)).astype(np.float32))


@pytest.mark.parametrize("count", [1, 2])
def test_the_neighbours_are_those_of_the_processor(
    index: Path, gpus: Callable[..., FakeGpus], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FIRST_CANDIDATES", 2)
    asked = queries(30)
    with open_reader(index) as reader:
        stored = np.stack([face.embedding for photo in reader.photos() for face in reader.faces_of(photo.photo_id)])
        asked = np.concatenate([asked, stored[:20]])
        cases = [(1, None, By.PHOTO), (5, None, By.FACE), (0, 0.1, By.PHOTO), (0, None, By.FACE), (7, 0.999, By.FACE)]
        wanted = [reader.nearest(asked, top=top, minimum=minimum, by=by) for top, minimum, by in cases]
    fake = gpus(count)
    with open_reader(index) as reader:
        assert [reader.nearest(asked, top=top, minimum=minimum, by=by) for top, minimum, by in cases] == wanted
    assert {gpu for gpu, _, _ in fake.asked} <= set(range(count))
    assert max(codes for _, _, codes in fake.asked) <= 100, "in shards"
    assert max(number for _, number, _ in fake.asked) == len(asked), "all queries together"
    whole = sum(codes for _, number, codes in fake.asked[:4] if number == len(asked))
    assert whole == FACES + 6 - 9, "dropped faces are not sent"


def test_few_queries_never_wait_for_a_gpu(
    index: Path, gpus: Callable[..., FakeGpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = gpus(1)
    monkeypatch.setattr(faiss, "get_num_gpus", None)
    with open_reader(index) as reader:
        reader.nearest(queries(7), top=3, minimum=None, by=By.FACE)
        reader.nearest(queries(1), top=0, minimum=None, by=By.FACE)
    assert fake.asked == []


def test_many_queries_of_few_codes_stay_on_the_processor(
    index: Path, gpus: Callable[..., FakeGpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = gpus(1)
    monkeypatch.setattr(gpu, "COMPARISONS_FROM", 100_000)
    with open_reader(index) as reader:
        reader.nearest(queries(100), top=3, minimum=None, by=By.FACE)
    assert fake.asked == []


def test_a_gpu_that_fails_is_not_asked_again(index: Path, gpus: Callable[..., FakeGpus]) -> None:
    with open_reader(index) as reader:
        wanted = reader.nearest(queries(20), top=3, minimum=None, by=By.FACE)
    gpus(1, fails=True)
    with open_reader(index) as reader:
        assert reader.nearest(queries(20), top=3, minimum=None, by=By.FACE) == wanted


def test_more_candidates_than_a_gpu_gives_are_given_by_the_processor(
    index: Path, gpus: Callable[..., FakeGpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = gpus(1)
    monkeypatch.setattr(gpu, "MOST_CANDIDATES", 64)
    monkeypatch.setattr(ranking, "_QUERY_BYTES", 4 * 400 * 3)
    with open_reader(index) as reader:
        answers = reader.nearest(queries(20), top=0, minimum=None, by=By.FACE)
    assert [len(matches) for matches in answers] == [FACES + 6 - 9] * 20
    assert fake.asked == []


def test_a_build_without_gpus_is_as_ever(index: Path, gpus: Callable[..., FakeGpus]) -> None:
    fake = gpus(0)
    with open_reader(index) as reader:
        assert len(reader.nearest(queries(20), top=3, minimum=None, by=By.FACE)) == 20
    assert fake.asked == []
