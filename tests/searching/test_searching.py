"""Parts of a search without models: parsing queries, choosing faces, and combining several into one answer."""

from __future__ import annotations

import numpy as np
import pytest

from facecli.config import By, Combine
from facecli.errors import QueryError
from facecli.searching.combining import combine_faces, mean_face, merge_matches
from facecli.searching.query_parser import FaceQuery, PhotoQuery, choose_faces, name_query, refusal
from facecli.searching.reading import area_order
from facecli.types import Match, PhotoFile, QueryFace, Skipped, SkipReason


def face(query: str, *direction: float, face_id: int | None = None, number: int = 1) -> QueryFace:
    return QueryFace(query, number, (0.0, 0.0, 10.0, 10.0), 0.9, np.array(direction, np.float32), face_id)


def match(similarity: float, face_id: int, path: str) -> Match:
    return Match(99, similarity, face_id, path, (0.0, 0.0, 1.0, 1.0), 0.5)


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("a.jpg", PhotoQuery("a.jpg", "/work/a.jpg")),
        ("./x//a.jpg", PhotoQuery("./x//a.jpg", "/work/x/a.jpg")),
        ("../a.jpg", PhotoQuery("../a.jpg", "/work/../a.jpg")),
        ("/b/a.jpg", PhotoQuery("/b/a.jpg", "/b/a.jpg")),
        ("-", PhotoQuery("-", "-")),
        ("./face:1", PhotoQuery("./face:1", "/work/face:1")),
        ("face:12", FaceQuery("face:12", 12)),
    ],
)
def test_what_a_query_names(query: str, named: object) -> None:
    assert name_query(query, "/work") == named


@pytest.mark.parametrize("query", ["face:", "face:x", "face:-1", "face:0", "face:1.5", "face:²", "face:" + "9" * 30])
def test_a_face_without_a_number_is_no_query(query: str) -> None:
    with pytest.raises(QueryError, match="number"):
        name_query(query, "/work")


def test_choosing_among_the_faces_of_a_query() -> None:
    faces = tuple(face("a.jpg", 1, number=n) for n in (1, 2, 3))
    assert choose_faces("a.jpg", faces, "largest") == faces[:1]
    assert choose_faces("a.jpg", faces, "3") == faces[2:]
    assert choose_faces("a.jpg", faces, "all") == faces
    with pytest.raises(QueryError, match="no face 4, the photo has 3"):
        choose_faces("a.jpg", faces, "4")
    with pytest.raises(QueryError, match="no face found"):
        choose_faces("a.jpg", (), "all")


def test_faces_are_numbered_by_falling_area_and_ties_by_x() -> None:
    boxes = np.array([[50, 0, 60, 10], [0, 0, 5, 5], [20, 0, 30, 10], [0, 0, 30, 30]], np.float32)
    assert area_order(boxes).tolist() == [3, 2, 0, 1]
    assert area_order(np.zeros((0, 4), np.float32)).tolist() == []


def test_separate_queries_leave_out_only_themselves() -> None:
    blocks = combine_faces(
        [face("face:1", 1, face_id=1), face("b.jpg", 1), face("face:3", 1, face_id=3)], Combine.SEPARATE
    )
    assert [(len(block.faces), block.left_out) for block in blocks] == [(1, (1,)), (1, ()), (1, (3,))]


def test_mean_is_a_unit_vector_between_its_references() -> None:
    one = mean_face([face("a", 1, 0), face("b", 0, 1)])
    assert np.allclose(one.embedding, [np.sqrt(0.5)] * 2)
    assert one.query == "a,b"
    assert one.embedding.dtype == np.float32
    assert np.isfinite(mean_face([face("a", 1, 0), face("b", -1, 0)]).embedding).all()


def test_any_takes_the_best_reference_of_each_photo() -> None:
    a, b = face("a", 1, 0), face("b", 0, 1)
    (block,) = combine_faces([a, b], Combine.ANY)
    found = [[match(0.9, 1, "/x"), match(0.2, 2, "/y")], [match(0.5, 2, "/y"), match(0.3, 3, "/x")]]
    result = merge_matches(block, found, By.PHOTO)
    assert [(m.rank, m.similarity, m.face_id) for m in result.matches] == [(1, 0.9, 1), (2, 0.5, 2)]
    assert [r.query for r in result.references] == ["a", "b"]
    assert [m.face_id for m in merge_matches(block, found, By.FACE).matches] == [1, 2, 3]


def test_a_block_asks_once_for_each_face_and_leaves_out_all_that_ask() -> None:
    asking = [face("face:1", 1, 0, face_id=1), face("face:2", 0, 1, face_id=2), face("a.jpg", 1, 1)]
    for how, rows in ((Combine.ANY, 3), (Combine.MEAN, 1)):
        (block,) = combine_faces(asking, how)
        assert (len(block.faces), block.left_out) == (rows, (1, 2))


def test_ties_go_by_face_id() -> None:
    (block,) = combine_faces([face("a", 1), face("b", 1)], Combine.ANY)
    found = [[match(0.5, 7, "/b"), match(0.5, 2, "/a")] for _ in block.faces]
    assert [m.face_id for m in merge_matches(block, found, By.PHOTO).matches] == [2, 7]


@pytest.mark.parametrize("reason", list(SkipReason))
def test_each_reason_has_its_own_words_in_one_line(reason: SkipReason) -> None:
    error = refusal(Skipped(PhotoFile("/a.jpg", 1, 1), reason, "line: detail"), "a.jpg")
    assert str(error).endswith(": a.jpg")
    assert str(error).count(": ") == 1
