"""A search with a first pass by short codes gives the same answers as one that compares all faces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from synthetic import KIND, make_photo, photo_id, unit

from facecli.config import By
from facecli.store import vector_writer
from facecli.store.reader import IndexReader, open_reader
from facecli.store.records import Batch, Scope
from facecli.store.search import backends, faiss_scan, first_pass
from facecli.store.writer import open_writer
from facecli.types import FloatArray, IndexedPhoto, Match

WIDE = 512
ERROR, MINIMUM = 0.12, 0.34
PEOPLE, PHOTOS = 12, 90


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small indexes have compact files too, in several parts, and are searched with them."""
    monkeypatch.setattr(vector_writer, "COMPACT_FROM", 0)
    monkeypatch.setattr(backends, "FAISS_FROM", 0)
    monkeypatch.setattr(faiss_scan, "SHORT_PART", 50)
    monkeypatch.setattr(faiss_scan, "_PART", 64)
    monkeypatch.setattr(first_pass, "MOST_SHARE", 0.5)


@pytest.fixture(scope="module")
def photos() -> list[IndexedPhoto]:
    """Photos of three people each, who look more or less like themselves in others."""
    chance = np.random.default_rng(3)
    people = unit(chance.standard_normal((PEOPLE, WIDE), np.float32))
    found = []
    for number in range(PHOTOS):
        photo = make_photo(f"/{number:03}.jpg", 3, dimension=WIDE)
        faces = people[chance.choice(PEOPLE, 3, replace=False)]
        spread = chance.uniform(0.02, 0.12, (3, 1)).astype(np.float32)
        found.append(replace(photo, embeddings=unit(faces + spread * chance.standard_normal((3, WIDE), np.float32))))
    return found


@pytest.fixture
def index(tmp_path: Path, photos: list[IndexedPhoto]) -> Path:
    """An index of the photos with some holes, and a compact file that lacks the last faces."""
    kind = replace(KIND, fingerprint=replace(KIND.fingerprint, dimension=WIDE))
    with open_writer(tmp_path / ".facecli", kind, create=True) as writer:
        writer.commit(Batch(photos=tuple(photos[:-6])))
        writer.prune([photo_id(writer, photos[i].file.path) for i in (3, 4, 50)])
        writer.finish()
        writer.commit(Batch(photos=tuple(photos[-6:])))
    return tmp_path / ".facecli"


@pytest.fixture
def reader(index: Path) -> Iterator[IndexReader]:
    with open_reader(index) as reader:
        yield reader


def queries_of(photos: list[IndexedPhoto], count: int) -> FloatArray:
    chance = np.random.default_rng(count)
    faces = np.concatenate([photo.embeddings for photo in photos])[:count]
    return unit(faces + np.float32(0.03) * chance.standard_normal(faces.shape, np.float32))


def both(reader: IndexReader, queries: FloatArray, top: int, by: By, scope: Scope) -> list[list[Match]]:
    """The answers with a first pass, which must be those without."""
    fast = replace(scope, first_pass=ERROR)
    found = reader.nearest(queries, top=top, minimum=MINIMUM, by=by, scope=fast)
    assert found == reader.nearest(queries, top=top, minimum=MINIMUM, by=by, scope=scope)
    assert min(m.similarity for matches in found for m in matches) >= np.float32(MINIMUM)
    return found


@pytest.mark.parametrize("by", list(By))
@pytest.mark.parametrize("top", [1, 5, 200, 0])
def test_the_answers_are_the_same(reader: IndexReader, photos: list[IndexedPhoto], top: int, by: By) -> None:
    found = both(reader, queries_of(photos, 20), top, by, Scope())
    assert reader.used_first_pass
    most = max(map(len, found))
    assert most == top if 0 < top < 6 else most > 5


def test_faces_that_the_compact_file_lacks_are_found(reader: IndexReader, photos: list[IndexedPhoto]) -> None:
    for photo in photos[-6:]:
        (found,) = both(reader, photo.embeddings[:1], 1, By.FACE, Scope())
        assert found[0].similarity == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("share", [2, 30])
def test_it_keeps_to_given_slots_and_leaves_faces_out(
    reader: IndexReader, photos: list[IndexedPhoto], share: int
) -> None:
    among = np.arange(0, 3 * PHOTOS, share)
    queries = queries_of(photos, 10)
    free = both(reader, queries, 0, By.FACE, Scope(among=among))
    left_out = [np.array([match.face_id for match in matches[:2]], np.int64) for matches in free]
    kept = reader.nearest(queries, top=0, minimum=MINIMUM, by=By.FACE, scope=Scope(left_out, among, first_pass=ERROR))
    assert [[m.face_id for m in matches] for matches in kept] == [[m.face_id for m in matches[2:]] for matches in free]


@pytest.mark.parametrize(
    ("minimum", "error"), [(None, ERROR), (MINIMUM, None), (0.1, ERROR)], ids=["no threshold", "not measured", "low"]
)
def test_there_is_none_without_a_threshold_or_a_measured_error(
    reader: IndexReader, photos: list[IndexedPhoto], minimum: float | None, error: float | None
) -> None:
    scope = Scope(first_pass=error)
    reader.nearest(photos[0].embeddings, top=3, minimum=minimum, by=By.FACE, scope=scope)
    assert not reader.used_first_pass


def test_it_gives_up_where_it_leaves_too_many(
    reader: IndexReader, photos: list[IndexedPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_pass, "MOST_SHARE", 0.01)
    assert both(reader, queries_of(photos, 5), 0, By.FACE, Scope())
    assert not reader.used_first_pass


def test_some_queries_may_give_up_and_others_not(
    reader: IndexReader, photos: list[IndexedPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_pass, "MOST_SHARE", 0.02)
    nobody = unit(np.ones((1, WIDE), np.float32))
    scope = Scope(first_pass=ERROR)
    queries = np.concatenate([photos[0].embeddings, nobody, photos[1].embeddings])
    found = reader.nearest(queries, top=0, minimum=MINIMUM, by=By.FACE, scope=scope)
    assert reader.used_first_pass
    assert found == reader.nearest(queries, top=0, minimum=MINIMUM, by=By.FACE)
    assert found[3] == []


@pytest.mark.parametrize("minimum", [None, MINIMUM])
def test_many_queries_share_a_pass_over_the_file(
    reader: IndexReader, photos: list[IndexedPhoto], minimum: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = queries_of(photos, 60)
    alone = [reader.nearest(query[None], top=7, minimum=minimum, by=By.PHOTO)[0] for query in queries]
    assert reader.nearest(queries, top=7, minimum=minimum, by=By.PHOTO) == alone
    among = np.arange(0, 3 * PHOTOS, 2)
    some = [reader.nearest(q[None], top=7, minimum=minimum, by=By.FACE, scope=Scope(among=among))[0] for q in queries]
    assert reader.nearest(queries, top=7, minimum=minimum, by=By.FACE, scope=Scope(among=among)) == some
    monkeypatch.setattr(faiss_scan, "_MANY_FOR_PASS", 10)
    scope = Scope(first_pass=ERROR)
    assert reader.nearest(queries, top=7, minimum=minimum, by=By.PHOTO, scope=scope) == alone
    assert not reader.used_first_pass


def test_a_cold_disk_cache_changes_nothing(reader: IndexReader, photos: list[IndexedPhoto], index: Path) -> None:
    import os

    for path in index.glob("*.faiss"):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    assert both(reader, queries_of(photos, 3), 10, By.FACE, Scope())
    assert reader.used_first_pass
