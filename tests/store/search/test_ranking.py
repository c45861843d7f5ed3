"""A search is exact with every scan: numpy on the vector file, FAISS on the mapped file, numpy on the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import faiss
import numpy as np
import pytest
from msgspec.structs import replace
from synthetic import DIMENSION, KIND, at_path, make_photo, make_photos, photo_id, unit, write

from facecli.config import By
from facecli.errors import StoreError
from facecli.similarity.codes import widen
from facecli.store.reader import IndexReader, open_reader
from facecli.store.records import Batch, Labels, Scope
from facecli.store.search import ranking
from facecli.store.search.ranking import Found, Identified, Wanted
from facecli.store.writer import open_writer
from facecli.types import FloatArray, IndexedPhoto, Match

SCANS = ("numpy", "faiss", "catalogue")


@contextmanager
def reading(index: Path, scan: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexReader]:
    """A reader with one of the three scans."""
    monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0 if scan == "faiss" else 1 << 60)
    if scan == "catalogue":
        for file in index.glob("vectors-*"):
            file.unlink()
    with open_reader(index) as reader:
        assert bool(reader.notice) == (scan == "catalogue")
        yield reader


@pytest.fixture
def photos(tmp_path: Path) -> list[IndexedPhoto]:
    """120 photos with three faces each, and copies of two photos, so that there are equal similarities."""
    found = make_photos(tmp_path, 120)
    return [*found, at_path(found[7], tmp_path / "copy.jpg"), at_path(found[90], tmp_path / "another.jpg")]


@pytest.fixture
def index(tmp_path: Path, photos: list[IndexedPhoto]) -> Path:
    """An index of the photos with some holes."""
    write(tmp_path / ".facecli", photos)
    with open_writer(tmp_path / ".facecli") as writer:
        writer.prune([photo_id(writer, photos[i].file.path) for i in (3, 4, 50)])
        writer.finish()
    return tmp_path / ".facecli"


def expected(reader: IndexReader, query: FloatArray, by: By) -> list[tuple[float, int, str]]:
    """The similarity, face id and path of every match, computed directly from the definition."""
    found = []
    for photo in reader.photos():
        for face in reader.faces_of(photo.photo_id):
            similarity = min(1.0, float(face.embedding.astype(np.float64) @ query.astype(np.float64)))
            found.append((similarity, face.face_id, photo.file.path))
    found.sort(key=lambda match: (-np.float32(match[0]), match[1]))
    if by is By.FACE:
        return found
    best: dict[str, tuple[float, int, str]] = {}
    for match in found:
        best.setdefault(match[2], match)
    return list(best.values())


def ask_equal(matches: list[Match], wanted: list[tuple[float, int, str]]) -> None:
    assert [(m.face_id, m.path) for m in matches] == [(face, path) for _, face, path in wanted]
    np.testing.assert_allclose([m.similarity for m in matches], [similarity for similarity, _, _ in wanted], atol=1e-6)
    assert [m.rank for m in matches] == list(range(1, len(matches) + 1))


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("by", list(By))
def test_the_answer_is_that_of_the_definition(
    index: Path, photos: list[IndexedPhoto], scan: str, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FIRST_CANDIDATES", 2)
    queries = np.concatenate(
        [photos[7].embeddings[:2], photos[90].embeddings[:1], unit(np.ones((1, DIMENSION), np.float32))]
    )
    with reading(index, scan, monkeypatch) as reader:
        for top, minimum in ((1, None), (5, None), (0, 0.1), (40, 0.05), (0, None), (7, 0.999)):
            answers = reader.nearest(queries, top=top, minimum=minimum, by=by)
            for query, matches in zip(queries, answers, strict=True):
                wanted = [match for match in expected(reader, query, by) if minimum is None or match[0] >= minimum]
                ask_equal(matches, wanted[: top or None])


@pytest.mark.parametrize("scan", SCANS)
def test_ties_do_not_depend_on_how_many_are_asked_for(
    tmp_path: Path, scan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FIRST_CANDIDATES", 1)
    photo = make_photo(tmp_path / "one.jpg", 1)
    write(tmp_path / ".facecli", [at_path(photo, tmp_path / f"{i:02}.jpg") for i in range(40)])
    with reading(tmp_path / ".facecli", scan, monkeypatch) as reader:
        for top, minimum in ((1, None), (3, None), (17, None), (0, None), (0, 0.9)):
            (matches,) = reader.nearest(photo.embeddings, top=top, minimum=minimum, by=By.PHOTO)
            assert [match.face_id for match in matches] == list(range(1, (top or 40) + 1))


class Inexact:
    """A scan whose sums are off in the last bits, so that the most similar of six faces comes last."""

    total, used_first_pass = 6, False
    codes = np.array([(0.5, 0)] * 5 + [(0.5, 4e-5)], np.float16)

    def best(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        return [(np.arange(6)[:count], np.linspace(0.30002, 0.30001, 6, dtype=np.float32)[:count])]

    def identify(self, labels: Labels) -> Identified:
        return Identified(labels, labels, self.codes[labels])


def test_what_a_scan_sums_inexactly_hides_no_better_face(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranking, "FIRST_CANDIDATES", 1)
    query = np.array([(0.6, 0.8)], np.float32)
    ((hit,),) = ranking.find_nearest(Inexact(), query, Wanted(1, None, By.FACE))
    assert hit.face_id == 5


@pytest.mark.parametrize("scan", SCANS)
def test_a_face_is_left_out_of_its_own_answer(
    index: Path, photos: list[IndexedPhoto], scan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(index, scan, monkeypatch) as reader:
        face = reader.faces_of(photo_id(reader, photos[7].file.path))[0]
        queries = np.stack([face.embedding, face.embedding])
        first, second = reader.nearest(
            queries, top=2, minimum=None, by=By.FACE, scope=Scope([np.array([face.face_id]), np.array([])])
        )
        assert face.face_id not in [match.face_id for match in first]
        assert second[0].face_id == face.face_id
        assert first[0].face_id == second[1].face_id


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("by", list(By))
def test_many_faces_are_left_out_before_photos_are_formed(
    index: Path, photos: list[IndexedPhoto], scan: str, by: By, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "FIRST_CANDIDATES", 2)
    with reading(index, scan, monkeypatch) as reader:
        near = expected(reader, photos[7].embeddings[0], By.FACE)
        left_out = {face for _, face, _ in near[:40]}
        rest = [match for match in near if match[1] not in left_out]
        best = {path: (similarity, face, path) for similarity, face, path in reversed(rest)}
        wanted = rest if by is By.FACE else sorted(best.values(), key=lambda match: (-np.float32(match[0]), match[1]))
        for top in (0, 1, 5):
            (matches,) = reader.nearest(
                photos[7].embeddings[:1], top=top, minimum=None, by=by, scope=Scope([np.array([*left_out])])
            )
            ask_equal(matches, wanted[: top or None])


@pytest.mark.parametrize("scan", SCANS)
@pytest.mark.parametrize("share", [0, 30, 2])
def test_only_the_faces_of_given_slots_are_compared(
    index: Path, photos: list[IndexedPhoto], scan: str, share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few slots and many take different ways; slots of holes and beyond the file are passed over."""
    monkeypatch.setattr(ranking, "FIRST_CANDIDATES", 2)
    with reading(index, scan, monkeypatch) as reader:
        slots = dict(reader.rows("SELECT face_id, slot FROM faces"))
        among = [int(str(slot)) for face, slot in slots.items() if share and int(str(face)) % share == 0]
        kept = {face for face, slot in slots.items() if slot in among}
        rest = [match for match in expected(reader, photos[7].embeddings[0], By.FACE) if match[1] in kept]
        scope = Scope(among=np.array([*reversed(among), 10, 10, 150, 1 << 40, -1] if share else [], np.int64))
        for top, minimum in ((0, None), (1, None), (5, 0.0), (0, 0.1)):
            (matches,) = reader.nearest(photos[7].embeddings[:1], top=top, minimum=minimum, by=By.FACE, scope=scope)
            ask_equal(matches, [match for match in rest if minimum is None or match[0] >= minimum][: top or None])


@pytest.mark.parametrize("scan", SCANS)
def test_an_empty_index_has_no_match(tmp_path: Path, scan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / ".facecli", [make_photo(tmp_path / "a.jpg", 0)])
    with reading(tmp_path / ".facecli", scan, monkeypatch) as reader:
        assert reader.nearest(np.ones((2, DIMENSION), np.float32), top=3, minimum=None, by=By.FACE) == [[], []]


def test_a_query_of_another_length_is_an_error(index: Path) -> None:
    with open_reader(index) as reader, pytest.raises(StoreError, match="3 dimensions, the index 64"):
        reader.nearest(np.ones((1, 3), np.float32), top=1, minimum=None, by=By.FACE)


def test_many_queries_are_answered_in_blocks(
    index: Path, photos: list[IndexedPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    queries = np.concatenate([photo.embeddings for photo in photos[:20]])
    scope = Scope([np.array([1])] * len(queries))
    with open_reader(index) as reader:
        whole = reader.nearest(queries, top=4, minimum=None, by=By.FACE, scope=scope)
        monkeypatch.setattr(ranking, "_QUERY_BYTES", 4 * 400 * 7)
        assert reader.nearest(queries, top=4, minimum=None, by=By.FACE, scope=scope) == whole


def test_the_file_is_one_that_faiss_reads(index: Path) -> None:
    (file,) = index.glob("vectors-*.faiss")
    read = faiss.read_index(str(file))
    with open_reader(index) as reader:
        stored = {face.face_id: face.embedding for photo in reader.photos() for face in reader.faces_of(photo.photo_id)}
        slots = dict(reader.rows("SELECT face_id, slot FROM faces"))
    assert (read.ntotal, read.d, read.metric_type) == (366, DIMENSION, faiss.METRIC_INNER_PRODUCT)
    for face_id, embedding in stored.items():
        np.testing.assert_array_equal(read.reconstruct(slots[face_id]), embedding)


def test_a_slot_zeroed_under_an_older_state_is_no_match(index: Path, photos: list[IndexedPhoto]) -> None:
    query = photos[7].embeddings[:1]
    with open_reader(index) as reader:
        with open_writer(index) as writer:
            writer.prune([photo_id(writer, photos[7].file.path)])
            assert not writer.finish().erased
        (matches,) = reader.nearest(query, top=0, minimum=None, by=By.FACE)
        assert len(matches) == 366 - 9 - 3
        assert matches[0].path == str(photos[7].file.path).replace("0007", "copy")


def test_a_reader_that_opens_while_the_file_is_replaced_takes_the_new_one(
    index: Path, photos: list[IndexedPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    from facecli.store import reader as module

    real, calls = module.open_vectors, 0

    def replaced_first(row: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            with open_writer(index) as writer:
                writer.prune([photo.photo_id for photo in list(writer.photos())[:40]])
                assert writer.finish().rebuilt
        return real(row)

    monkeypatch.setattr(module, "open_vectors", replaced_first)
    with open_reader(index) as reader:
        assert (reader.notice, reader.info.epoch, reader.info.photos) == ("", 2, 79)
        assert (
            reader.nearest(photos[100].embeddings, top=1, minimum=None, by=By.FACE)[0][0].path == photos[100].file.path
        )


def test_faiss_steps_aside_where_the_file_is_replaced_under_an_older_state(
    index: Path, photos: list[IndexedPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0)
    with open_reader(index) as reader:
        with open_writer(index) as writer:
            writer.prune([photo.photo_id for photo in list(writer.photos())[:40]])
            assert writer.finish().rebuilt
        (matches,) = reader.nearest(photos[0].embeddings[:1], top=1, minimum=None, by=By.FACE)
        assert matches[0].path == photos[0].file.path


@pytest.mark.parametrize("scan", SCANS[:2])
def test_codes_beyond_the_catalogue_are_not_searched(index: Path, scan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch wrote its codes and was killed before its transaction."""
    new = make_photo("/new.jpg")

    class Killed(BaseException):
        pass

    def at(step: str) -> None:
        if step == "before commit batch":
            raise Killed

    writer = open_writer(index, at=at)
    with pytest.raises(Killed):
        writer.commit(Batch(photos=(new,)))
    with reading(index, scan, monkeypatch) as reader:
        (matches,) = reader.nearest(new.embeddings[:1], top=1, minimum=None, by=By.FACE)
        assert matches[0].similarity < 0.9
        assert faiss.read_index(str(next(index.glob("vectors-*")))).ntotal == 369
    writer.close()


def test_widening_is_exact_for_every_finite_float16() -> None:
    bits = np.arange(1 << 16, dtype=np.uint32).astype("<u2").view("<f2")
    finite = bits[np.isfinite(bits)].reshape(1, -1)
    wide = widen(finite, np.empty(finite.shape, np.int32)).astype(np.float64)
    np.testing.assert_array_equal(wide * 2.0**112, finite.astype(np.float64))


def test_similarities_stay_within_one(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg", 40)
    write(tmp_path / ".facecli", [replace(photo, embeddings=unit(photo.embeddings) * np.float32(1.001))], KIND)
    with open_reader(tmp_path / ".facecli") as reader:
        answers = reader.nearest(unit(photo.embeddings), top=1, minimum=None, by=By.FACE)
        assert max(matches[0].similarity for matches in answers) == 1.0
