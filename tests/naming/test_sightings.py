"""Names seen at faces: a wrong one never renames a person, and what was merged or told apart comes back so."""

from __future__ import annotations

from pathlib import Path

import pytest
from families import family, portrait, put

from facecli.naming.album import IndexPeople
from facecli.naming.listing import Choice, Which


@pytest.fixture
def people(tmp_path: Path) -> IndexPeople:
    """Ann in five photos, Ben in four, Cleo in three."""
    put(tmp_path / "index", family(tmp_path, {"ann": 5, "ben": 4, "cleo": 3}))
    return IndexPeople(tmp_path / "index")


def faces(people: IndexPeople, person: int) -> list[int]:
    return sorted(face.face_id for face in people.faces(person))


def listed(people: IndexPeople) -> list[tuple[str | None, int]]:
    return [(one.name, one.faces) for one in people.listed(Choice(Which.ALL))]


def test_most_faces_name_the_person_and_another_name_only_its_face(people: IndexPeople) -> None:
    ann = faces(people, 1)
    done = people.apply_sightings({"Ann": ann[:2], "Zoe": ann[2:3]})
    assert (done.complaints, listed(people)) == ((), [("Ann", 4), (None, 4), (None, 3), ("Zoe", 1)])
    assert people.apply_sightings({"Ann": ann[:2], "Zoe": ann[2:3]}).decisions == 0
    people.undo()
    assert listed(people) == [(None, 5), (None, 4), (None, 3)]


def test_of_two_names_at_as_many_faces_the_one_that_is_known_stays(people: IndexPeople) -> None:
    ann = faces(people, 1)
    people.name(1, "Zoe")
    people.apply_sightings({"Ann": ann[:1], "zoe": ann[1:2]})
    assert listed(people) == [("Zoe", 4), (None, 4), (None, 3), ("Ann", 1)]


def test_a_name_at_several_people_makes_them_one(people: IndexPeople) -> None:
    done = people.apply_sightings({"Ann": faces(people, 1)[:3], "ann": faces(people, 2)[:1], "Cleo": faces(people, 3)})
    assert (done.complaints, listed(people)) == ((), [("Ann", 9), ("Cleo", 3)])


def test_one_face_does_not_make_two_people_with_names_one(people: IndexPeople) -> None:
    ann, ben = faces(people, 1), faces(people, 2)
    people.name(1, "Ann")
    people.name(2, "Ben")
    done = people.apply_sightings({"ben": ann[:1]})
    assert (done.complaints, listed(people)) == ((), [("Ben", 5), ("Ann", 4), (None, 3)])
    people.undo()
    assert people.apply_sightings({"Ben": ann[:3]}).complaints == ()
    assert listed(people) == [("Ben", 9), (None, 3)]
    people.undo()
    assert people.apply_sightings({"Ben": ann[:3]}).renamed == (("Ann", "Ben"),)
    people.undo()
    people.apply_sightings({"Ben": ann, "Ann": ben})
    assert [face.face_id for face in people.faces("Ann") if face.face_id not in ben] == []
    assert listed(people) == [("Ben", 5), ("Ann", 4), (None, 3)]


def test_a_new_name_at_one_face_is_the_persons(people: IndexPeople) -> None:
    people.name(1, "Ann")
    done = people.apply_sightings({"Ann Smith": faces(people, 1)[:1]})
    assert listed(people)[0] == ("Ann Smith", 5)
    assert done.renamed == (("Ann", "Ann Smith"),)
    assert people.apply_sightings({"Ann Smith": faces(people, 1)[:1]}).renamed == ()


def test_a_face_with_two_names_gets_none(people: IndexPeople) -> None:
    face = faces(people, 1)[0]
    done = people.apply_sightings({"Ann": [face], "Ben": [face]})
    assert (done.complaints, listed(people)[0]) == ((f"face:{face} has more than one name: Ann, Ben",), (None, 5))


def test_two_faces_of_one_photo_are_not_given_to_one_person(people: IndexPeople, tmp_path: Path) -> None:
    put(people.directory, [portrait(tmp_path / "both.jpg", ["ann", "ben"])])
    first, second = sorted(set(faces(people, 1) + faces(people, 2)))[-2:]
    people.name(1, "Ann")
    done = people.apply_sightings({"Ann": [first], "Ben": [*faces(people, 2)[:3]], "ann": [second]})
    assert "in one photo" in "".join(done.complaints)
    assert listed(people)[:2] == [("Ann", 6), ("Ben", 5)]


def test_what_is_no_name_is_told(people: IndexPeople) -> None:
    done = people.apply_sightings({"123": faces(people, 1), "Cleo": faces(people, 3)})
    assert len(done.complaints) == 1
    assert "not a name" in done.complaints[0]
    assert listed(people) == [(None, 5), (None, 4), ("Cleo", 3)]
