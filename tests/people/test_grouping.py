"""Faces become people: right, whatever their order, never two of one photo, and as the user decided."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from made_up_faces import album, as_faces, directions, faces_like
from msgspec.structs import replace
from numpy.typing import NDArray

from facecli.people import edges as finding
from facecli.people.group import group
from facecli.people.grouping import NOBODY, Decisions, Edges, Faces, People, Why
from facecli.people.limits import DEFAULT
from facecli.reporting import SilentReporter


def grouped(faces: Faces, decisions: Decisions | None = None, edges: Edges | None = None) -> People:
    return group(faces, decisions or Decisions(), DEFAULT, edges, SilentReporter()).people


def sets(people: People, face_ids: NDArray[np.int64]) -> set[frozenset[int]]:
    """The people as sets of face ids."""
    return {frozenset(face_ids[people.person == number].tolist()) for number in range(len(people.owners))}


def picked(faces: Faces, rows: NDArray[np.int64]) -> Faces:
    return Faces(*(part[rows] for part in (faces.face_ids, faces.contents, faces.boxes, faces.scores, faces.codes)))


def owned(ids: Sequence[int], owner: int) -> list[tuple[int, int]]:
    return [(face_id, owner) for face_id in ids]


def test_people_are_found_and_strangers_left_alone() -> None:
    faces, truth = album()
    people = grouped(faces)
    right = {frozenset(faces.face_ids[truth == person].tolist()) for person in range(40)}
    assert sets(people, faces.face_ids) == right
    assert (people.person[truth >= 40] == NOBODY).all()
    assert (people.why[truth >= 40] == Why.NOTHING).all()
    assert np.isnan(people.similarity[truth >= 40]).all()
    sizes = np.bincount(people.person[truth < 40])
    assert (np.diff(sizes) <= 0).all()
    assert (abs(people.cohesion - 0.6) < 0.2).all()
    for number, cover in enumerate(people.covers.tolist()):
        assert people.person[cover - 1] == number
    assert people.suggestions == ()


def test_the_order_of_the_faces_does_not_matter() -> None:
    """Neither of the rows nor of the ids, which follow the order of indexing."""
    faces, _ = album()
    first = grouped(faces)
    shuffled = np.random.default_rng(0).permutation(len(faces.face_ids))
    again = grouped(picked(faces, shuffled))
    np.testing.assert_array_equal(again.person, first.person[shuffled])
    np.testing.assert_array_equal(again.similarity, first.similarity[shuffled])
    other_ids = np.random.default_rng(1).permutation(faces.face_ids)
    renamed = grouped(replace(faces, face_ids=other_ids))
    back = dict(zip(other_ids.tolist(), faces.face_ids.tolist(), strict=True))
    assert {frozenset(back[i] for i in people) for people in sets(renamed, other_ids)} == sets(first, faces.face_ids)


def test_no_person_has_two_faces_of_one_photo() -> None:
    """Three relatives who look so alike that their faces link, together in most photos."""
    base = directions(1, 5)
    relatives = faces_like(np.repeat(base, 3, axis=0), closeness=0.85, seed=6)
    truth = np.tile(np.arange(3), 30)
    faces = as_faces(faces_like(relatives[truth], closeness=0.9, seed=7), np.repeat(np.arange(30), 3))
    people = grouped(faces)
    member = people.person != NOBODY
    pairs = np.stack([people.person[member], faces.contents[member]])
    assert np.unique(pairs, axis=1).shape == pairs.shape
    for number in range(len(people.owners)):
        assert len(np.unique(truth[people.person == number])) == 1


def test_copies_of_a_photo_count_as_one() -> None:
    """Each copy of a face has its person; a face that is only in copies of one photo is alone."""
    faces, _ = album()
    alone = as_faces(directions(1, 77))
    every = np.arange(len(faces.face_ids))
    one = Faces(*(np.concatenate(parts) for parts in zip(*(astuple(f) for f in (faces, alone)), strict=True)))
    one = replace(one, face_ids=np.arange(1, len(every) + 2), contents=np.arange(len(every) + 1))
    twice = picked(one, np.concatenate([np.arange(len(every) + 1)] * 3))
    twice = replace(twice, face_ids=np.arange(1, len(twice.face_ids) + 1))
    people = grouped(twice).person.reshape(3, -1)
    np.testing.assert_array_equal(people[0], people[1])
    np.testing.assert_array_equal(people[0], people[2])
    assert people[0, -1] == NOBODY
    np.testing.assert_array_equal(people[0, :-1], grouped(faces).person)


def astuple(faces: Faces) -> tuple[NDArray[np.generic], ...]:
    return (faces.face_ids, faces.contents, faces.boxes, faces.scores, faces.codes)


def test_small_and_doubtful_faces_are_in_nobody_unless_assigned() -> None:
    faces, truth = album()
    boxes, scores = faces.boxes.copy(), faces.scores.copy()
    small, doubtful = np.flatnonzero(truth == 0)[:1], np.flatnonzero(truth == 1)[:1]
    boxes[small, 2] = boxes[small, 0] + 20
    scores[doubtful] = 0.55
    faces = replace(faces, boxes=boxes, scores=scores)
    people = grouped(faces)
    assert people.person[small[0]] == people.person[doubtful[0]] == NOBODY
    mate = np.flatnonzero(truth == 0)[1]
    people = grouped(faces, Decisions(owners=owned(faces.face_ids[[small[0], mate]].tolist(), 9)))
    assert people.person[small[0]] == people.person[mate] != NOBODY
    assert people.why[small[0]] == Why.USER
    people = grouped(faces, Decisions(owners=owned(faces.face_ids[small].tolist(), 9)))
    assert people.owners[people.person[small[0]]] == 9
    assert (people.person == people.person[small[0]]).sum() == 1
    assert people.similarity[small[0]] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("count", [0, 1, 30])
def test_strangers_alone_are_no_people(count: int) -> None:
    people = grouped(as_faces(directions(count, 8)))
    assert (len(people.owners), people.person.tolist()) == (0, [NOBODY] * count)


def test_faces_whose_code_is_no_unit_vector_are_in_nobody() -> None:
    faces, truth = album()
    codes = faces.codes.copy()
    bad = np.flatnonzero(truth < 3)[:3]
    codes[bad[0]], codes[bad[1]], codes[bad[2], 0] = 0, codes[bad[1]] * 2, np.nan
    people = grouped(replace(faces, codes=codes))
    assert (people.person[bad] == NOBODY).all()
    assert len(people.owners) >= 39


def test_an_owner_joins_what_looks_unlike() -> None:
    faces, truth = album()
    one, other = (faces.face_ids[truth == person].tolist() for person in (0, 1))
    people = grouped(faces, Decisions(owners=owned([one[0], other[0]], 5)))
    assert frozenset(one + other) in sets(people, faces.face_ids)
    assert people.owners[people.person[one[0] - 1]] == 5
    assert (people.why[[one[0] - 1, other[0] - 1]] == Why.USER).all()
    assert people.why[one[1] - 1] == Why.LINKS


def test_two_owners_are_never_one() -> None:
    faces, truth = album()
    ids = faces.face_ids[truth == int(np.bincount(truth).argmax())].tolist()
    people = grouped(faces, Decisions(owners=[*owned(ids[:1], 0), *owned(ids[1:2], 1)]))
    assert people.person[ids[0] - 1] != people.person[ids[1] - 1]
    assert sorted(people.owners[people.owners >= 0].tolist()) == [0, 1]
    assert (people.person[np.array(ids) - 1] != NOBODY).all()


def test_a_refused_face_stays_out_of_its_owner_and_of_all_that_joins_him() -> None:
    faces, truth = album()
    ids = faces.face_ids[truth == int(np.bincount(truth).argmax())].tolist()
    people = grouped(faces, Decisions(owners=owned(ids[:1], 4), refused=owned(ids[1:2], 4)))
    assert people.person[ids[0] - 1] != people.person[ids[1] - 1]
    assert people.owners[people.person[ids[0] - 1]] == 4


def test_an_owner_may_have_two_faces_of_one_photo() -> None:
    """A mirror or a collage, where the user says so; the rule still holds for all other faces of the photo."""
    base = directions(1, 8)
    vectors = faces_like(np.repeat(base, 6, axis=0), closeness=0.9, seed=9)
    faces = as_faces(vectors, np.array([0, 0, 0, 1, 2, 3]))
    assert (np.bincount(grouped(faces).person[grouped(faces).person >= 0])[0]) == 4
    people = grouped(faces, Decisions(owners=owned([1, 2], 0)))
    owner = people.person[0]
    assert people.person[1] == owner
    assert people.person[2] != owner
    assert (people.person[3:] == owner).all()


def test_people_put_together_do_not_share_a_photo_but_by_decision() -> None:
    """Two clusters of one owner, with faces in one photo: the owner's faces alone come along."""
    truth = np.repeat([0, 1], 6)
    contents = np.array([0, 1, 2, 3, 4, 5, 0, 11, 12, 13, 14, 15])
    faces = as_faces(faces_like(directions(2, 40)[truth], seed=41), contents)
    people = grouped(faces, Decisions(owners=owned([2, 3, 8], 0)))
    assert sets(people, faces.face_ids) == {frozenset([1, 2, 3, 4, 5, 6, 8]), frozenset([7, 9, 10, 11, 12])}
    # The first face of the photo that both have gives way to the other, which was decided on.
    people = grouped(faces, Decisions(owners=owned([2, 3, 7], 0)))
    assert sets(people, faces.face_ids) == {frozenset([2, 3, 4, 5, 6, 7]), frozenset([8, 9, 10, 11, 12])}
    assert people.person[0] == NOBODY


def test_a_decision_on_a_copy_is_one_on_all_copies_and_unknown_faces_are_ignored() -> None:
    faces, truth = album()
    copies = picked(faces, np.concatenate([np.arange(len(truth)), np.flatnonzero(truth == 0)]))
    copies = replace(copies, face_ids=np.arange(1, len(copies.face_ids) + 1))
    people = grouped(copies, Decisions(owners=owned([len(copies.face_ids), 999_999], 6)))
    assert people.owners[people.person[np.flatnonzero(truth == 0)[0]]] == 6
    assert (people.why == Why.USER).sum() == 2
    assert (people.owners >= 0).sum() == 1


def test_hard_photos_join_by_centroids_and_singles_attach() -> None:
    """Faces of little likeness: what does not link does join; what is halfway is suggested, never merged."""
    people = directions(12, 20)
    truth = np.repeat(np.arange(12), 60)
    faces = as_faces(faces_like(people[truth], closeness=0.62, seed=21))
    found = grouped(faces)
    member = found.person >= 0
    for number in range(len(found.owners)):
        assert len(np.unique(truth[found.person == number])) == 1
    assert {Why.LINKS, Why.ATTACHED} <= set(found.why[member].tolist())
    like = 0.56 * people[:1] + (1 - 0.56**2) ** 0.5 * people[1:2]
    halves = np.repeat(np.concatenate([people[:1], like]), 8, axis=0).astype(np.float32)
    alike = as_faces(faces_like(halves, closeness=0.8, seed=23))
    suggested = grouped(alike)
    assert len(suggested.owners) == 2
    (only,) = suggested.suggestions
    assert (only.person, only.other) == (0, 1)
    assert DEFAULT.suggest <= only.similarity < DEFAULT.merge
    apart = Decisions(owners=[(1, 0), (9, 1)])
    assert grouped(alike, apart).suggestions == ()


def test_nothing_is_grouped_in_nothing() -> None:
    people = grouped(as_faces(np.zeros((0, 512), np.float32)))
    assert (len(people.person), len(people.owners), people.suggestions) == (0, 0, ())
    alone = grouped(as_faces(directions(1, 2)))
    assert alone.person.tolist() == [NOBODY]


class TestEdges:
    """Those of an earlier call save time, and change nothing."""

    @pytest.mark.parametrize("change", ["added", "removed", "changed", "same"])
    def test_the_answer_is_that_without_them(self, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
        faces, truth = crowd()
        rows = np.arange(len(truth))
        earlier, now = faces, faces
        if change == "added":
            earlier = picked(faces, rows[rows % 10 > 0])
        elif change == "removed":
            now = picked(faces, rows[10:])  # of one person: the edges of the others still hold
        elif change == "changed":
            codes = faces.codes.copy()
            codes[:20] = codes[:20][::-1]
            now = replace(faces, codes=codes)
        made = group(earlier, Decisions(), DEFAULT, None, SilentReporter()).edges
        searched: list[int] = []
        right = finding.find_neighbours

        def counted(space: object, known: object, report: object) -> object:
            searched.append(len(known.new))  # type: ignore[attr-defined]
            return right(space, known, report)  # type: ignore[arg-type]

        monkeypatch.setattr(finding, "find_neighbours", counted)
        with_edges = group(now, Decisions(), DEFAULT, made, SilentReporter())
        without = group(now, Decisions(), DEFAULT, None, SilentReporter())
        np.testing.assert_array_equal(with_edges.people.person, without.people.person)
        for name in ("face_ids", "digests", "starts", "others", "similarities"):
            np.testing.assert_array_equal(getattr(with_edges.edges, name), getattr(without.edges, name))
        assert searched[0] == 0 if change == "same" else 0 < searched[0] < searched[1]

    def test_damaged_ones_are_not_used(self) -> None:
        faces, _ = album()
        made = group(faces, Decisions(), DEFAULT, None, SilentReporter()).edges
        assert finding.is_sound(made)
        wrong = made.others.copy()
        wrong[0] = len(made.face_ids)
        for damaged in (
            replace(made, others=wrong),
            replace(made, starts=made.starts[:-1]),
            replace(made, starts=made.starts[::-1].copy()),
            replace(made, similarities=made.similarities * np.float32(np.nan)),
            replace(made, face_ids=made.face_ids[::-1].copy()),
            replace(made, digests=made.digests[1:]),
        ):
            assert not finding.is_sound(damaged)
            np.testing.assert_array_equal(grouped(faces, edges=damaged).person, grouped(faces).person)


def crowd() -> tuple[Faces, NDArray[np.int64]]:
    """People with more faces than a face has edges, so that edges of faces that go must be replaced."""
    truth = np.repeat(np.arange(6), 50)
    return as_faces(faces_like(directions(6, 30)[truth], seed=31)), truth
