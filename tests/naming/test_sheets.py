"""Sheets of people: what export writes apply takes; old lines and lines of others do no harm."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from families import family, portrait, put

from facecli.errors import UsageError
from facecli.naming.album import IndexPeople
from facecli.naming.listing import Choice, Which
from facecli.naming.sheets import Applied, read_sheet
from facecli.persons import PersonInfo
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Ann in five photos, Ben in four, Cleo in three."""
    put(tmp_path / "index", family(tmp_path, {"ann": 5, "ben": 4, "cleo": 3}))
    return tmp_path / "index"


@pytest.fixture
def people(index: Path) -> IndexPeople:
    return IndexPeople(index)


def apply(people: IndexPeople, *lines: dict[str, Any]) -> Applied:
    return people.apply(read_sheet(io.BytesIO(b"\n".join(json.dumps(line).encode() for line in lines)), "sheet"))


def listed(people: IndexPeople) -> list[tuple[int, str | None, int]]:
    return [(one.person_id, one.name, one.faces) for one in people.listed(Choice(Which.ALL))]


def test_a_sheet_that_is_applied_unchanged_changes_nothing(people: IndexPeople) -> None:
    people.name(1, "Ann")
    people.hide(2)
    people.reject(3, [people.faces(3)[0].face_id])
    before = people.export()
    assert apply(people, *before) == Applied(0, 0, ())
    assert people.export() == before
    assert [len(line["not"]) for line in before if isinstance(line["not"], list)] == [0, 0, 1]


def test_names_marks_and_hiding_are_one_step(people: IndexPeople) -> None:
    ann, ben, cleo = people.export()
    out = ann["faces"][0]  # type: ignore[index]
    done = apply(people, {**ann, "name": "Ann", "not": [out]}, {**ben, "hidden": True}, cleo)
    assert (done.people, done.complaints) == (2, ())
    assert [(one.name, one.hidden, one.faces) for one in people.listed(Choice(Which.ALL))] == [
        ("Ann", False, 4),
        (None, True, 4),
        (None, False, 3),
    ]
    people.undo()
    assert people.export() == [ann, ben, cleo]


def test_one_name_twice_makes_one_person(people: IndexPeople) -> None:
    ann, ben, cleo = people.export()
    people.name(3, "Cleo")
    apply(people, {**ann, "name": "Eve"}, {**ben, "name": "eve"}, {**cleo, "name": None})
    assert listed(people) == [(1, "Eve", 9), (3, "Cleo", 3)]
    apply(people, {**people.export()[0], "name": "Cleo"})
    assert listed(people) == [(3, "Cleo", 12)]


def test_people_who_swap_or_pass_on_their_names_stay_apart(people: IndexPeople) -> None:
    ann, ben, cleo = people.export()
    people.name(1, "Ann")
    people.name(2, "Ben")
    assert apply(people, {**ann, "name": "Ben"}, {**ben, "name": "Ann"}).complaints == ()
    assert listed(people) == [(1, "Ben", 5), (2, "Ann", 4), (3, None, 3)]
    apply(people, {**cleo, "name": "Ann"}, {**ben, "name": "Ann-Marie"})
    assert listed(people) == [(1, "Ben", 5), (2, "Ann-Marie", 4), (3, "Ann", 3)]
    apply(people, {**ben, "name": "Ben"}, {**cleo, "name": "Ann-Marie"})
    assert listed(people) == [(1, "Ben", 9), (3, "Ann-Marie", 3)]


def test_a_name_that_its_person_could_not_lose_is_still_one_persons(
    people: IndexPeople, index: Path, tmp_path: Path
) -> None:
    put(index, [portrait(tmp_path / "both.jpg", ["ann", "ben"])])
    ann, _, cleo = people.export()
    people.name(1, "Ann")
    people.name(2, "Ben")
    done = apply(people, {**ann, "name": "Ben"}, {**cleo, "name": "Ann"})
    assert "in one photo" in done.complaints[0]
    assert [name for _, name, _ in listed(people)] == ["Ann", "Ben"]
    people.undo()
    apply(people, {**cleo, "name": "Ann"}, {**ann, "name": "Ben"})
    assert [name for _, name, _ in listed(people)] == [None, "Ben", "Ann"]
    people.undo()
    apply(people, {**ann, "name": "face:1"}, {**cleo, "name": "Ann"})
    assert [name for _, name, _ in listed(people)] == ["Ann", "Ben"]


def test_the_last_of_two_lines_about_a_person_holds(people: IndexPeople) -> None:
    ann, *_ = people.export()
    apply(people, {**ann, "name": "Anna", "hidden": True}, {**ann, "name": "", "hidden": False})
    assert listed(people)[0] == (1, None, 5)
    assert not people.listed(Choice(Which.HIDDEN))


def test_null_leaves_what_is_there_and_an_empty_name_takes_it_away(people: IndexPeople) -> None:
    people.name(1, "Ann")
    people.hide(1)
    line = {"person": 1, "faces": people.export()[0]["faces"]}
    apply(people, {**line, "name": None, "hidden": None})
    assert [(one.name, one.hidden) for one in people.listed(Choice(Which.HIDDEN))] == [("Ann", True)]
    apply(people, {**line, "name": "", "hidden": False})
    assert people.listed()[0].name is None


def test_a_line_is_about_its_faces_whoever_they_are_now(people: IndexPeople) -> None:
    ann, ben, _ = people.export()
    people.merge(2, 1)
    done = apply(people, {**ann, "name": "Ann"})
    assert done.complaints == ()
    assert listed(people)[0] == (2, "Ann", 9)
    people.undo()
    people.undo()
    done = apply(people, {**ben, "person": 77, "name": "Ben"})
    assert listed(people)[1] == (2, "Ben", 4)


def test_what_no_longer_applies_is_told_and_the_rest_done(people: IndexPeople, index: Path) -> None:
    ann, ben, cleo = people.export()
    gone = ann["faces"][0]  # type: ignore[index]
    moved = ben["faces"][0]  # type: ignore[index]
    people.assign("Zoe", [moved])
    with open_writer(index) as writer:
        writer.remove(writer.plan_removal([], [gone]))
    done = apply(
        people,
        {**ann, "name": "Ann", "not": [gone]},
        {**ben, "name": "Ben"},
        {**cleo, "faces": [998, 999], "person": 999, "name": "Nobody"},
        {**cleo, "name": "face:7"},
    )
    assert listed(people) == [(1, "Ann", 4), (2, "Ben", 3), (3, None, 3), (4, "Zoe", 1)]
    told = "\n".join(done.complaints)
    assert f"person 1 (Ann): face:{gone} no longer in the index" in told
    assert f"person 2 (Ben): face:{moved} belong to somebody else now" in told
    assert "person 999 (Nobody): none of the faces is in the index" in told
    assert "person 3 (face:7): not a name" in told


def test_two_people_of_one_photo_are_not_merged_by_a_sheet(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    put(index, [portrait(tmp_path / "both.jpg", ["ann", "ben"])])
    ann, ben, _ = people.export()
    done = apply(people, {**ann, "name": "Eve"}, {**ben, "name": "Eve"})
    assert len(done.complaints) == 1
    assert "in one photo" in done.complaints[0]
    assert listed(people)[:2] == [(1, "Eve", 6), (2, None, 5)]


def test_a_sheet_of_another_index_is_refused_as_a_whole(people: IndexPeople, tmp_path: Path) -> None:
    put(tmp_path / "other", family(tmp_path, {"ann": 5}))
    mine, theirs = people.export(), IndexPeople(tmp_path / "other").export()
    with pytest.raises(UsageError, match="another index"):
        apply(people, {**mine[1], "name": "Ben"}, {**theirs[0], "name": "Ann"})
    assert people.export() == mine
    apply(people, {key: value for key, value in {**mine[1], "name": "Ben"}.items() if key != "index"})
    assert listed(people)[1] == (2, "Ben", 4)


@pytest.mark.parametrize(
    "line",
    [
        b"nonsense",
        b"[1]",
        b'{"faces": "all"}',
        b'{"faces": [1.5]}',
        b'{"name": 7}',
        b'{"person": {}}',
        b'{"name": "Ann"}',
        b'{"query": "ann.jpg", "face": 1}',
        b"\xff",
        b'{"a":' * 5000,
    ],
)
def test_what_is_no_sheet_is_refused_with_its_line(line: bytes) -> None:
    with pytest.raises(UsageError, match=r"names\.jsonl, line 3"):
        read_sheet(io.BytesIO(b'{"faces": [1]}\n\n' + line), "names.jsonl")


def test_faces_of_nobody_become_a_person_with_a_name(index: Path, people: IndexPeople, tmp_path: Path) -> None:
    put(index, [portrait(tmp_path / "dan.jpg", ["dan"])])
    with open_reader(index) as reader:
        alone = max(face.face_id for face in reader.faces())
    done = apply(people, {"faces": [alone], "name": "Dan"})
    assert done.complaints == ()
    assert listed(people)[-1] == (4, "Dan", 1)


def test_decisions_of_another_index_are_adopted_once_and_those_here_stay(people: IndexPeople, tmp_path: Path) -> None:
    put(tmp_path / "other", family(tmp_path, {"zoe": 2, "cleo": 3, "ben": 4, "ann": 5}))
    other = IndexPeople(tmp_path / "other")
    for photo, name in (("ann", "Ann"), ("ben", "Benjamin"), ("zoe", "Zoe")):
        other.name(next(one.person_id for one in other.listed(Choice(Which.ALL)) if photo in cover(other, one)), name)
    out = other.faces("Ann")[0]
    other.reject("Ann", [out.face_id])
    people.name(2, "Ben")
    done = people.adopt(tmp_path / "other")
    assert done.people == 1
    assert sorted(done.complaints) == [
        "Benjamin: person 2 is Ben here, and keeps this name",
        "Zoe: none of the faces is in the index, so the line is left out",
    ]
    assert listed(people) == [(1, "Ann", 4), (2, "Ben", 4), (3, None, 3)]
    assert out.path not in {face.path for face in people.faces("Ann")}
    assert people.adopt(tmp_path / "other").decisions == 0
    people.undo()
    assert listed(people) == [(1, None, 5), (2, "Ben", 4), (3, None, 3)]


def test_two_people_of_one_name_in_two_indexes_become_one_and_that_is_told(people: IndexPeople, tmp_path: Path) -> None:
    put(tmp_path / "other", family(tmp_path, {"ann": 5, "ben": 4, "cleo": 3}))
    IndexPeople(tmp_path / "other").name(2, "Anna")
    people.name(1, "Anna")
    done = people.adopt(tmp_path / "other")
    assert done.complaints == ("Anna: person 2 is now one with person 1, who has this name",)
    assert listed(people) == [(1, "Anna", 9), (3, None, 3)]
    assert people.adopt(tmp_path / "other").complaints == ()


def cover(people: IndexPeople, one: PersonInfo) -> str:
    return people.faces(one.person_id)[0].path


def test_a_line_without_end_is_not_read_to_its_end() -> None:
    with open("/dev/zero", "rb") as endless, pytest.raises(UsageError, match="too long"):
        read_sheet(endless, "/dev/zero")
