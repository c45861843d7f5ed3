"""Answers of a search, and the confidence in them, for an index of made-up faces with known similarities."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from facecli.config import By, Combine, SearchOptions
from facecli.errors import IndexMismatch, StoreError, UsageError
from facecli.fingerprint import Fingerprint
from facecli.limits import PhotoLimits
from facecli.reporting import SilentReporter
from facecli.searching.gathering import Surroundings
from facecli.searching.query_parser import EmbeddingQuery
from facecli.searching.search import search_index
from facecli.store.reader import IndexReader, open_reader
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.writer import open_writer
from facecli.thresholds import MEASURED
from facecli.types import Detections, FloatArray, IndexedPhoto, PhotoFile

RECOGNISER = next(iter(MEASURED))
FACES: dict[str, list[dict[int, float]]] = {
    "/album/ann-1.jpg": [{0: 1.0}],
    "/album/ann-2.jpg": [{0: 0.8, 1: 0.6}],
    "/album/ann-and-cat.jpg": [{0: 0.9, 3: 0.19**0.5}, {0: 0.5, 4: 0.75**0.5}],
    "/album/ben.jpg": [{0: 0.15, 2: 0.9775**0.5}],
}
"""The faces of each photo, as coordinates of embeddings: Ann on the first axis, Cat half similar to her, Ben hardly."""


def vector(coordinates: dict[int, float]) -> FloatArray:
    made = np.zeros(512, np.float32)
    for axis, value in coordinates.items():
        made[axis] = value
    return made


def photo(number: int, path: str, faces: list[FloatArray]) -> IndexedPhoto:
    boxes = np.array([[10 + 100 * n, 10, 90 + 100 * n, 90] for n in range(len(faces))], np.float32)
    landmarks = np.zeros((len(faces), 5, 2), np.float32)
    detections = Detections(boxes, np.full(len(faces), 0.9, np.float32), landmarks, np.zeros(len(faces), np.uint8))
    return IndexedPhoto(PhotoFile(path, 1, 1), bytes([number]) * 16, 400, 300, detections, np.stack(faces))


def album() -> list[IndexedPhoto]:
    return [photo(n, path, list(map(vector, faces))) for n, (path, faces) in enumerate(FACES.items())]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IndexReader]:
    place = tmp_path_factory.mktemp("made-up") / ".facecli"
    kind = EmbeddingKind(Fingerprint("test", "0" * 64, RECOGNISER, 512), "none")
    with open_writer(place, kind, create=True) as writer:
        writer.commit(Batch(tuple(album())))
        writer.finish()
    with open_reader(place) as opened:
        yield opened


def face_id(reader: IndexReader, path: str, number: int = 0) -> int:
    """The id of a photo's face, found by its box."""
    for candidate in range(1, 10):
        face = reader.face(candidate)
        if face.path == path and int(face.box[0]) == 10 + 100 * number:
            return candidate
    raise AssertionError(path)


AROUND = Surroundings("/", BytesIO(), SilentReporter())


def test_each_match_has_the_confidence_of_its_similarity(reader: IndexReader) -> None:
    ann = face_id(reader, "/album/ann-1.jpg")
    (result,) = search_index(
        reader, [f"face:{ann}"], SearchOptions(top=0, threshold="none", by=By.FACE), AROUND
    ).results
    seen = [(m.rank, round(m.similarity, 2), m.confidence) for m in result.matches]
    assert seen == [(1, 0.9, "likely"), (2, 0.8, "likely"), (3, 0.5, "likely"), (4, 0.15, "unlikely")]


def test_limits_leave_out_matches_and_never_add_any(tmp_path: Path) -> None:
    """With fewer faces to compare a lower threshold would do, and matches would come and go with the limits."""
    strangers = np.random.default_rng(1).normal(size=(3000, 512)).astype(np.float32)
    strangers /= np.linalg.norm(strangers, axis=1, keepdims=True)
    kind = EmbeddingKind(Fingerprint("test", "0" * 64, RECOGNISER, 512), "none")
    with open_writer(tmp_path / ".facecli", kind, create=True) as writer:
        writer.commit(Batch((*album(), photo(99, "/crowd/all.jpg", list(strangers)))))
    with open_reader(tmp_path / ".facecli") as opened:
        query = EmbeddingQuery("alike", vector({0: 0.3, 5: 0.91**0.5}))
        everywhere, within = (
            search_index(opened, query, SearchOptions(limits=limits), AROUND)
            for limits in (PhotoLimits(), PhotoLimits(under=("/album",)))
        )
    assert everywhere.threshold.minimum == within.threshold.minimum == 0.332
    assert everywhere.results[0].matches == within.results[0].matches == ()
    assert (everywhere.searched, within.searched) == (
        "3,005 faces in 5 photos",
        "the 5 faces of photos within the limits",
    )


def test_a_block_leaves_out_all_faces_that_ask(reader: IndexReader) -> None:
    asking = [face_id(reader, "/album/ann-1.jpg"), face_id(reader, "/album/ann-and-cat.jpg")]
    queries = [f"face:{number}" for number in asking]
    for how in (Combine.ANY, Combine.MEAN):
        for top in (0, 1, 2, 3):
            options = SearchOptions(top=top, threshold="none", by=By.FACE, combine=how)
            (result,) = search_index(reader, queries, options, AROUND).results
            found = [m.face_id for m in result.matches]
            assert not set(asking) & set(found)
            assert len(found) == (top or 3)
            assert [m.rank for m in result.matches] == list(range(1, len(found) + 1))
    separate = search_index(reader, queries, SearchOptions(top=1, threshold="none"), AROUND)
    assert [r.matches[0].face_id for r in separate.results] == asking[::-1]


def test_by_photo_another_face_of_the_asking_photo_may_answer(reader: IndexReader) -> None:
    ann = face_id(reader, "/album/ann-and-cat.jpg")
    (result,) = search_index(reader, [f"face:{ann}"], SearchOptions(top=0, threshold="none"), AROUND).results
    assert [m.path for m in result.matches] == [
        "/album/ann-1.jpg",
        "/album/ann-2.jpg",
        "/album/ann-and-cat.jpg",
        "/album/ben.jpg",
    ]


@pytest.mark.parametrize("how", [Combine.ANY, Combine.MEAN])
def test_several_faces_that_ask_leave_no_photo_out(
    reader: IndexReader, how: Combine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo still appears by another face if one face in it is a query; each query face is searched for once."""
    queries = [
        f"face:{face_id(reader, path, number)}"
        for path, number in (("/album/ann-1.jpg", 0), ("/album/ann-and-cat.jpg", 0))
    ]
    rows = []
    real = IndexReader.nearest

    def counted(self: IndexReader, queries: FloatArray, **wanted: Any) -> Any:
        rows.append(len(queries))
        return real(self, queries, **wanted)

    monkeypatch.setattr(IndexReader, "nearest", counted)
    by_photo, by_face = (
        search_index(reader, queries, SearchOptions(0, "none", combine=how, by=by), AROUND).results[0] for by in By
    )
    assert {m.path for m in by_photo.matches} == {m.path for m in by_face.matches} >= {"/album/ann-and-cat.jpg"}
    assert rows == [2 if how is Combine.ANY else 1] * 2


def test_a_match_of_any_names_the_reference_that_matched(reader: IndexReader) -> None:
    queries = [f"face:{face_id(reader, path)}" for path in ("/album/ann-1.jpg", "/album/ben.jpg")]
    options = SearchOptions(top=0, threshold="none", by=By.FACE, combine=Combine.ANY)
    (result,) = search_index(reader, queries, options, AROUND).results
    assert len(result.references) == len(result.matches) == 3
    assert result.references[0].query == queries[0]


@pytest.mark.parametrize("other", [{"reading": 2}, {"alignment": 2}, {"metric": "euclidean"}])
def test_an_index_of_another_version_is_not_searched(tmp_path: Path, other: dict[str, Any]) -> None:
    with open_writer(
        tmp_path / ".facecli",
        EmbeddingKind(Fingerprint("test", "0" * 64, RECOGNISER, 512, **other), "none"),
        create=True,
    ) as writer:
        writer.commit(Batch(tuple(album()[:1])))
        writer.finish()
    ((name, value),) = other.items()
    with (
        open_reader(tmp_path / ".facecli") as opened,
        pytest.raises(IndexMismatch, match=f"{name} {value}, not") as caught,
    ):
        search_index(opened, ["face:1"], SearchOptions(threshold="none"), AROUND)
    assert "--migrate" in caught.value.hint


def test_an_index_is_named_by_any_path_and_one_query_is_one(
    reader: IndexReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path(reader.info.directory)
    wanted = search_index(reader, ["face:1"], SearchOptions(threshold="none"), AROUND).results[0].matches
    monkeypatch.chdir(place.parent)
    for named in (place, str(place), ".facecli", Path("../") / place.parent.name / ".facecli"):
        with open_reader(named) as opened:
            assert opened.info.directory == str(place)
            (result,) = search_index(opened, "face:1", SearchOptions(threshold="none"), AROUND).results
            assert result.matches == wanted
    with pytest.raises(StoreError, match="empty"):
        open_reader("")


def test_stdin_is_named_once_and_a_mean_has_no_all(reader: IndexReader) -> None:
    with pytest.raises(UsageError, match="only once"):
        search_index(reader, ["-", "-"], SearchOptions(), AROUND)
    with pytest.raises(UsageError, match="one face of each"):
        search_index(reader, ["a"], SearchOptions(face="all", combine=Combine.MEAN), AROUND)
