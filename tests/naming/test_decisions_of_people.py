"""People of an index: groups follow from faces and decisions; names stay, and everything can be taken back."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from families import FOREIGN, OTHER, family, portrait, put
from msgspec.structs import replace

from facecli.captures import Capture
from facecli.errors import FacecliError, IndexLocked, QueryError, StoreError, UsageError
from facecli.naming import album
from facecli.naming.album import IndexPeople, open_with_people
from facecli.naming.listing import Choice, Which
from facecli.reporting import SilentReporter
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.writer import open_writer
from facecli.types import PhotoFile

ALL = Choice(Which.ALL)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Ann in five photos, Ben in four, Cleo in three, and a stranger in one."""
    put(tmp_path / "index", family(tmp_path, {"ann": 5, "ben": 4, "cleo": 3, "dan": 1}))
    return tmp_path / "index"


@pytest.fixture
def people(index: Path) -> IndexPeople:
    return IndexPeople(index)


def groups(people: IndexPeople) -> dict[int, set[str]]:
    """The photos of each person, by the names of their files."""
    return {one.person_id: photos(people, one.person_id) for one in people.listed(ALL)}


def photos(people: IndexPeople, who: int | str) -> set[str]:
    return {os.path.basename(face.path).partition(".")[0] for face in people.faces(who)}


def shot(who: str, *numbers: int) -> set[str]:
    return {f"{who}-{n}" for n in numbers}


def face(people: IndexPeople, who: int | str, photo: str) -> int:
    """The face of a person in a photo."""
    return next(one.face_id for one in people.faces(who) if os.path.basename(one.path).startswith(photo))


ANN, BEN, CLEO = shot("ann", *range(5)), shot("ben", *range(4)), shot("cleo", *range(3))


def test_faces_are_sorted_into_people_largest_first(people: IndexPeople) -> None:
    assert groups(people) == {1: ANN, 2: BEN, 3: CLEO}
    assert [(one.faces, one.photos, one.name) for one in people.listed()] == [(5, 5, None), (4, 4, None), (3, 3, None)]


def test_few_photos_are_left_out_unless_named(people: IndexPeople) -> None:
    assert [one.person_id for one in people.listed(Choice(min_photos=4))] == [1, 2]
    people.assign(
        "Dan", [next(f for f in range(1, 14) if f not in {m.face_id for p in (1, 2, 3) for m in people.faces(p)})]
    )
    assert [one.name for one in people.listed()] == [None, None, None, "Dan"]
    assert [one.name for one in people.listed(Choice(Which.NAMED))] == ["Dan"]
    assert [one.name for one in people.listed(Choice(Which.UNNAMED))] == [None, None, None]


def test_the_order_of_indexing_changes_no_group(people: IndexPeople, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for photo in reversed(family(tmp_path, {"ann": 5, "ben": 4, "cleo": 3, "dan": 1})):
        put(other, [photo])
    assert sorted(groups(IndexPeople(other)).values(), key=sorted) == sorted(groups(people).values(), key=sorted)


def test_a_name_stays_when_photos_come_and_the_id_with_it(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    people.name(3, "Cleo")
    put(index, [portrait(tmp_path / f"cleo-{n}.jpg", ["cleo"]) for n in range(3, 9)])
    first = people.listed()[0]
    assert (first.person_id, first.name, first.faces) == (3, "Cleo", 9)


def test_a_search_for_people_opens_the_index_once_and_sees_what_came(
    people: IndexPeople, index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.name(1, "Ann")
    opened = []
    monkeypatch.setattr(album, "open_reader", lambda place: opened.append(place) or open_reader(place))  # type: ignore[func-returns-value]
    with open_with_people(index, lambda _: True, SilentReporter()) as reader:
        assert reader.people.counts()[1] == (5, 5)
    assert opened == [index]
    put(index, [portrait(tmp_path / "ann-5.jpg", ["ann"])])
    for asks, faces in ((False, 5), (True, 6)):
        with open_with_people(index, lambda _, asks=asks: asks, SilentReporter()) as reader:  # type: ignore[misc]
            assert reader.people.counts()[1] == (faces, faces)


def test_a_name_is_one_persons_and_found_in_any_case(people: IndexPeople) -> None:
    people.name(1, "  Anna   Ä. O'Neil ")
    assert people.listed()[0].name == "Anna Ä. O'Neil"
    with pytest.raises(UsageError, match="another person has this name"):
        people.name(2, "ANNA Ä. O'NEIL")
    people.name("anna ä. o'neil", "Ann")
    people.name(2, "Anna Ä. O'Neil")
    assert [one.name for one in people.listed()] == ["Ann", "Anna Ä. O'Neil", None]


@pytest.mark.parametrize(
    ("decide", "error", "said"),
    [
        (lambda p: p.name(99, "X"), QueryError, "no such person"),
        (lambda p: p.name("nobody", "X"), QueryError, "no such person"),
        (lambda p: p.name(1, " "), UsageError, "an empty name"),
        (lambda p: p.name(1, "12"), UsageError, "not a name"),
        (lambda p: p.name(1, "face:12"), UsageError, "not a name"),
        (lambda p: p.name(1, "a\x1bb"), UsageError, "not a name"),
        (lambda p: p.merge(1, 1), UsageError, "merged with itself"),
        (lambda p: p.merge(1), UsageError, "merged with itself"),
        (lambda p: p.reject(1, [999]), QueryError, "no such face"),
        (lambda p: p.split(1, [10**18]), QueryError, "no such face"),
        (lambda p: p.split(1, [f.face_id for f in p.faces(2)][:1]), QueryError, "not one of person 1"),
        (lambda p: p.split(1, [f.face_id for f in p.faces(1)]), UsageError, "nothing would be left"),
        (lambda p: p.set_cover(1, p.faces(2)[0].face_id), QueryError, "not one of person 1"),
        (lambda p: p.assign("7", [1]), QueryError, "no such person"),
        (lambda p: p.undo(), StoreError, "nothing to undo"),
        (lambda p: p.forget("Ann"), QueryError, "no person has this name"),
    ],
)
def test_what_cannot_be_decided_changes_nothing(
    people: IndexPeople, decide: Callable[[IndexPeople], object], error: type[FacecliError], said: str
) -> None:
    before = people.export()
    with pytest.raises(error, match=said):
        decide(people)
    assert people.export() == before


def test_a_rejected_face_never_comes_back(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    out = face(people, 1, "ann-0")
    people.reject(1, [out])
    assert photos(people, 1) == ANN - {"ann-0"}
    put(index, family(tmp_path, {"ann": 9}))
    assert photos(people, 1) == shot("ann", *range(1, 9))
    people.undo()
    assert photos(people, 1) == shot("ann", *range(9))


def test_a_split_makes_a_new_person_that_stays_apart(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    new = people.split(1, [face(people, 1, "ann-0"), face(people, 1, "ann-1")])
    assert (new, photos(people, new), photos(people, 1)) == (4, shot("ann", 0, 1), shot("ann", 2, 3, 4))
    put(index, family(tmp_path, {"ann": 8}))
    assert shot("ann", 0, 1) <= photos(people, new)
    assert shot("ann", 2, 3, 4) <= photos(people, 1)
    assert [one.decided for one in people.faces(new) if "ann-0" in one.path] == [True]


def test_a_merge_keeps_the_first_persons_id_and_name_and_undo_brings_the_other_back(people: IndexPeople) -> None:
    people.name(2, "Ben")
    people.name(3, "Cleo")
    assert people.merge("Ben", "Cleo") == 2
    assert groups(people) == {1: ANN, 2: BEN | CLEO}
    assert people.name(3, "Benny") == 2, "the id of a merged person stands for the other"
    people.undo()
    assert people.undo() == ["the merge into person 2"]
    assert groups(people) == {1: ANN, 2: BEN, 3: CLEO}
    assert [one.name for one in people.listed()] == [None, "Ben", "Cleo"]


def test_the_undo_of_a_merge_of_two_without_a_name_brings_both_ids_back(people: IndexPeople) -> None:
    people.merge(3, 2)
    people.undo()
    assert groups(people) == {1: ANN, 2: BEN, 3: CLEO}


def test_a_merged_person_stays_one_when_photos_come(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    old = "ben when old"
    put(index, family(tmp_path, {old: 3}))
    assert photos(people, 4) == shot(old, *range(3))
    people.merge(2, 4)
    put(index, family(tmp_path, {old: 6, "ben": 8}))
    assert photos(people, 2) == shot("ben", *range(8)) | shot(old, *range(6))


def test_an_assigned_face_leaves_its_person(people: IndexPeople) -> None:
    moved = face(people, 1, "ann-2")
    people.name(2, "Ben")
    assert people.assign("Ben", [moved]) == 2
    assert (photos(people, 1), photos(people, 2)) == (ANN - {"ann-2"}, BEN | {"ann-2"})
    assert people.assign("Eve", [moved]) == 4
    assert (photos(people, 2), photos(people, "Eve")) == (BEN, {"ann-2"})


def test_two_faces_of_one_photo_are_one_person_only_by_force(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    put(index, [portrait(tmp_path / "both.jpg", ["ann", "ben"])])
    assert "both" in photos(people, 1) & photos(people, 2)
    with pytest.raises(UsageError, match="in one photo"):
        people.merge(1, 2)
    with pytest.raises(UsageError, match="in one photo"):
        people.assign("Twins", [face(people, 1, "both"), face(people, 2, "both")])
    people.name(1, "Ann")
    with pytest.raises(UsageError, match="in one photo"):
        people.assign("Ann", [face(people, 2, "both")])
    people.merge(1, 2, force=True)
    assert photos(people, 1) == ANN | BEN | {"both"}


def test_copies_of_a_photo_have_their_persons_decisions(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    copy = portrait(tmp_path / "copy.jpg", ["ann"], seed="ann-0.jpg")
    put(index, [copy])
    (first,) = people.listed()[:1]
    assert (first.faces, first.photos) == (6, 5)
    people.reject(1, [face(people, 1, "copy")])
    assert photos(people, 1) == ANN - {"ann-0"}


def test_hidden_people_are_left_out_until_they_are_shown(people: IndexPeople) -> None:
    people.hide(2)
    assert [one.person_id for one in people.listed()] == [1, 3]
    assert [one.person_id for one in people.listed(Choice(Which.HIDDEN))] == [2]
    assert len(people.listed(ALL)) == 3
    people.show(2)
    assert len(people.listed()) == 3


def test_of_two_names_the_first_persons_stays(people: IndexPeople) -> None:
    people.name(1, "Ann")
    people.name(2, "Ben")
    people.merge(1, 2)
    assert [(one.person_id, one.name, one.faces) for one in people.listed()] == [(1, "Ann", 9), (3, None, 3)]
    people.name(3, "Cleo")
    people.undo()
    people.merge(3, 1)
    assert [(one.person_id, one.name) for one in people.listed()] == [(3, "Ann")]


@pytest.mark.parametrize("hidden", [1, 2])
def test_who_is_put_together_is_hidden_where_both_are(people: IndexPeople, hidden: int) -> None:
    people.hide(hidden)
    people.merge(1, 2)
    assert [one.person_id for one in people.listed()] == [1, 3]
    people.undo()
    people.hide(3 - hidden)
    people.merge(1, 2)
    assert [one.person_id for one in people.listed()] == [3]


def test_a_chosen_cover_stands_for_the_person_while_it_is_its_face(people: IndexPeople) -> None:
    usual = people.listed()[0].cover
    chosen = next(one.face_id for one in people.faces(1) if one.face_id != usual)
    people.set_cover(1, chosen)
    assert people.listed()[0].cover == chosen
    people.reject(1, [chosen])
    assert people.listed()[0].cover not in (chosen, None)


def test_of_two_chosen_covers_the_first_persons_stays(people: IndexPeople) -> None:
    one, other = people.faces(1)[-1].face_id, people.faces(2)[-1].face_id
    people.set_cover(2, other)
    people.merge(1, 2)
    assert people.listed()[0].cover == other
    people.undo()
    people.set_cover(1, one)
    people.merge(1, 2)
    assert people.listed()[0].cover == one


def test_forgetting_a_name_takes_it_from_every_file(people: IndexPeople, index: Path) -> None:
    people.name(1, "Zzyzx Quetzal")
    people.name(1, "Anna")
    people.reject("Anna", [face(people, 1, "ann-0")])
    assert people.forget("zzyzx QUETZAL") == 1
    assert people.listed()[0].name == "Anna"
    assert people.forget("Anna") == 3
    assert people.listed()[0].name is None
    assert photos(people, 1) == ANN, "the decisions about the faces are forgotten, too"
    data = b"".join(file.read_bytes() for file in index.iterdir())
    assert b"Quetzal" not in data
    assert b"Anna" not in data
    with pytest.raises(StoreError, match="nothing to undo"):
        people.undo()


def test_a_forgotten_name_that_a_reader_holds_goes_with_the_next_write(
    people: IndexPeople, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(album, "WAIT_READERS", 0)
    people.name(1, "Zanzibar")
    with open_reader(index), pytest.raises(StoreError, match="the erasure is not finished"):
        people.forget("Zanzibar")
    people.hide(2)
    assert not any(b"Zanzibar" in file.read_bytes() for file in index.iterdir())


def test_a_name_can_be_forgotten_and_a_decision_undone_after_the_last_photo_is_gone(
    people: IndexPeople, index: Path
) -> None:
    people.name(1, "Zanzibar")
    people.merge(1, 2)
    with open_writer(index) as writer:
        writer.remove(writer.plan_removal([photo.file.path for photo in writer.photos()]))
    assert [(one.name, one.faces) for one in people.listed(Choice(Which.NAMED))] == [("Zanzibar", 0)]
    assert people.undo() == ["the merge into person 1"]
    assert people.forget("zanzibar") == 1
    assert not any(b"Zanzibar" in file.read_bytes() for file in index.iterdir())


def test_what_is_left_of_a_decision_about_a_removed_face_is_undone_with_words(people: IndexPeople, index: Path) -> None:
    out = people.faces(1)[0].face_id
    people.reject(1, [out])
    with open_writer(index) as writer:
        writer.remove(writer.plan_removal([], [out]))
    assert people.undo() == ["the faces kept by person 1"]


def test_ids_are_never_used_again(people: IndexPeople) -> None:
    new = people.split(1, [face(people, 1, "ann-0"), face(people, 1, "ann-1")])
    people.undo()
    again = people.split(1, [face(people, 1, "ann-2"), face(people, 1, "ann-1")])
    assert again > new


# what an index run does


def test_decisions_survive_that_all_is_indexed_again(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    people.name(1, "Ann")
    people.reject(1, [face(people, 1, "ann-0")])
    put(index, family(tmp_path, {"ann": 5, "ben": 4, "cleo": 3}))
    assert photos(people, "Ann") == ANN - {"ann-0"}


def test_decisions_return_with_photos_that_were_away(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    people.name(2, "Ben")
    people.reject(2, [face(people, 2, "ben-1")])
    with open_writer(index) as writer:
        writer.prune([photo.photo_id for photo in writer.photos() if "ben" in photo.file.path])
        writer.finish()
    assert [(one.person_id, one.faces) for one in people.listed(Choice(Which.NAMED))] == [(2, 0)]
    put(index, family(tmp_path, {"ben": 4}))
    assert photos(people, "Ben") == BEN - {"ben-1"}


def test_a_person_whose_decided_photos_are_away_keeps_the_others(
    people: IndexPeople, index: Path, tmp_path: Path
) -> None:
    people.name(3, "Cleo")
    put(index, family(tmp_path, {"cleo": 9}))
    people.refresh()
    with open_writer(index) as writer:
        old = [photo for photo in writer.photos() if photo.file.path[-10:] in {f"cleo-{n}.jpg" for n in range(3)}]
        writer.prune([photo.photo_id for photo in old])
    assert len(old) == 3
    assert photos(people, "Cleo") == shot("cleo", *range(3, 9))


def test_decisions_follow_a_moved_and_an_edited_photo(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    people.name(1, "Ann")
    people.reject(1, [face(people, 1, "ann-0")])
    rejected = next(
        f for f in range(1, 14) if f not in {m.face_id for p in (1, 2, 3) for m in people.faces(p)} and f < 6
    )
    with open_writer(index) as writer:
        known = writer.photo_with(rejected)
        writer.commit(Batch(moves=((known.photo_id, PhotoFile(str(tmp_path / "moved.jpg"), 1, 2)),)))
    assert "moved" not in photos(people, "Ann")
    # Cropped: another content, the face at another place, the embedding much the same.
    edited = portrait(tmp_path / "moved.jpg", ["ann"], seed="cropped")
    near = replace(edited, embeddings=portrait(tmp_path / "ann-0.jpg", ["ann"]).embeddings)
    far = replace(near, detections=replace(near.detections, boxes=near.detections.boxes + 300))
    put(index, [far])
    assert photos(people, "Ann") == ANN - {"ann-0"}


def test_decisions_follow_a_migration_and_what_found_no_face_is_told(
    people: IndexPeople, index: Path, tmp_path: Path
) -> None:
    people.name(1, "Ann")
    people.reject(1, [face(people, 1, "ann-0")])
    people.name(3, "Cleo")
    shots = family(tmp_path, {"ann": 5, "ben": 4, "dan": 1})
    moved = [replace(one, detections=replace(one.detections, boxes=one.detections.boxes + 2)) for one in shots]
    blind = [
        replace(portrait(tmp_path / f"cleo-{n}.jpg", []), digest=portrait(tmp_path / f"cleo-{n}.jpg", ["cleo"]).digest)
        for n in range(3)
    ]
    ids = {one.face_id for who in (1, 2, 3) for one in people.faces(who)}
    with open_writer(index) as writer:
        writer.begin_migration(OTHER)
        writer.commit(Batch(photos=(*moved, *blind)))
        writer.finish_migration(drop_unreachable=False)
        assert sorted((os.path.basename(lost.path), lost.name) for lost in writer.lost_decisions) == [
            (f"cleo-{n}.jpg", "Cleo") for n in range(3)
        ]
        writer.finish()
    assert photos(people, "Ann") == ANN - {"ann-0"}
    assert ids.isdisjoint(one.face_id for one in people.faces("Ann"))
    assert [(one.person_id, one.name, one.faces) for one in people.listed(ALL)] == [
        (1, "Ann", 4),
        (2, None, 4),
        (3, "Cleo", 0),
    ]
    with open_reader(index) as reader:
        assert list(reader.check()) == []


def test_a_removal_takes_a_faces_decisions_and_leaves_the_name(
    people: IndexPeople, index: Path, tmp_path: Path
) -> None:
    people.name(1, "Ann")
    digests = [photo.digest for photo in family(tmp_path, {"ann": 5})]
    with open_writer(index) as writer:
        paths = [photo.file.path for photo in writer.photos() if "ann" in photo.file.path]
        assert writer.remove(writer.plan_removal(paths))
    data = b"".join(file.read_bytes() for file in index.iterdir())
    assert [digest for digest in digests if digest in data] == []
    assert [(one.name, one.faces, one.cover) for one in people.listed(Choice(Which.NAMED))] == [("Ann", 0, None)]
    assert people.forget("Ann") == 1
    with open_reader(index) as reader:
        assert reader.people.decisions() == ()


def test_the_removal_of_one_face_takes_its_decisions_alone(people: IndexPeople, index: Path) -> None:
    people.name(1, "Ann")
    gone = face(people, 1, "ann-3")
    with open_writer(index) as writer:
        writer.remove(writer.plan_removal([], [gone]))
        kept = {anchor.face_id for one in writer.people.decisions() for anchor in one.faces}
    assert len(kept) == 4
    assert gone not in kept


def test_groups_can_be_thrown_away(people: IndexPeople, index: Path) -> None:
    people.name(2, "Ben")
    people.reject(2, [face(people, 2, "ben-0")])
    people.hide(3)
    before = people.export()
    with open_writer(index) as writer:
        for table in ("members", "persons", "suggestions", "edges"):
            writer._writing.connection.execute(f"DELETE FROM {table}")
        writer._writing.connection.execute("UPDATE grouping SET generation = 0")
    after = people.export()
    assert [line for line in after if line["person"] in (2, 3)] == [line for line in before if line["person"] in (2, 3)]
    assert [line["faces"] for line in after] == [line["faces"] for line in before]


# lists that are behind


def test_a_person_has_the_times_of_the_first_and_the_last_photo(
    index: Path, people: IndexPeople, tmp_path: Path
) -> None:
    assert (people.listed()[0].first, people.listed()[0].last) == (None, None)
    put(index, [replace(one, capture=Capture(n * 86_400_000)) for n, one in enumerate(family(tmp_path, {"ann": 4}))])
    first = people.listed()[0]
    assert (first.first, first.last) == ("1970-01-01T00:00:00", "1970-01-04T00:00:00")


def test_an_index_without_faces_has_no_people(tmp_path: Path) -> None:
    put(tmp_path / "index", [])
    with pytest.raises(StoreError, match="holds no faces"):
        IndexPeople(tmp_path / "index").listed()


def test_a_locked_index_shows_the_people_of_before_and_tells_how_many_faces_came(
    people: IndexPeople, index: Path, tmp_path: Path
) -> None:
    people.refresh()
    put(index, family(tmp_path, {"eve": 3}))
    told: list[str] = []
    watcher = IndexPeople(index, Told(told))
    with open_writer(index):
        assert [one.person_id for one in watcher.listed()] == [1, 2, 3]
        with pytest.raises(IndexLocked) as refused:
            watcher.name(1, "Ann")
    assert "--wait" not in refused.value.hint  # the commands of people have no such option
    assert len(told) == 1
    assert "3 faces ago" in told[0]
    assert [one.person_id for one in watcher.listed()] == [1, 2, 3, 4]


class Told:
    """A reporter that keeps the warnings."""

    watched = False

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def warn(self, message: str) -> None:
        self._told.append(message)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_, **__: None


def test_a_dry_run_tells_what_would_change_and_changes_nothing(
    people: IndexPeople, index: Path, tmp_path: Path
) -> None:
    people.refresh()
    put(index, family(tmp_path, {"eve": 3}))
    change = people.update(dry_run=True)
    assert (change.people, change.new, change.gone, change.faces) == (4, 1, 0, 3)
    with open_reader(index) as reader:
        assert len(reader.people.counts()) == 3
    assert people.update() == change
    assert people.update() == replace(change, new=0, faces=0)


def test_another_threshold_stays_until_another_is_asked_for(people: IndexPeople, index: Path, tmp_path: Path) -> None:
    people.update(0.9)
    assert people.listed() == []
    put(index, family(tmp_path, {"eve": 3}))
    assert people.listed() == []
    people.update(0.38)
    assert len(people.listed()) == 4


def test_a_pack_without_calibration_needs_a_threshold_once(tmp_path: Path) -> None:
    put(tmp_path / "foreign", family(tmp_path, {"ann": 5, "ben": 4}), FOREIGN)
    people = IndexPeople(tmp_path / "foreign")
    with pytest.raises(UsageError, match="not calibrated"):
        people.listed()
    people.update(0.4)
    people.name(1, "Ann")
    put(tmp_path / "foreign", family(tmp_path, {"ann": 7}), FOREIGN)
    assert photos(people, "Ann") == shot("ann", *range(7))
