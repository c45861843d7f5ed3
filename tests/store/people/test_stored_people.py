"""What the catalogue holds about people: forged rows are refused, damage is found and mended, nothing is half done."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from families import family, portrait, put

from facecli.errors import IndexDamaged
from facecli.naming.album import IndexPeople
from facecli.naming.editing import PeopleEditor
from facecli.naming.listing import Choice, Which
from facecli.reporting import SilentReporter
from facecli.store.catalog import schema
from facecli.store.people.edges import read_edges, write_edges
from facecli.store.people.records import EdgeTable
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer, repair_index


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Two people, one of them named and with a rejected face."""
    put(tmp_path / "index", family(tmp_path, {"ann": 5, "ben": 4}))
    people = IndexPeople(tmp_path / "index")
    people.name(1, "Ann")
    people.reject("Ann", [people.faces("Ann")[-1].face_id])
    return tmp_path / "index"


def alter(index: Path, *statements: str) -> None:
    with closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as database:
        for statement in statements:
            database.execute(statement)


DECISIONS = [
    "UPDATE decisions SET kind = 'adore'",
    "UPDATE decisions SET person_id = -1",
    "UPDATE decisions SET person_id = 1 << 62",
    "UPDATE decisions SET name = 'a' || char(27) || 'b' WHERE kind = 'name'",
    "UPDATE decisions SET name = '12' WHERE kind = 'name'",
    "UPDATE anchors SET box = x'00'",
    "UPDATE anchors SET box = x'0000c07f0000c07f0000c07f0000c07f' WHERE anchor_id = 1",
    "UPDATE anchors SET digest = x'00' WHERE anchor_id = 1",
]
GROUPS = [
    "UPDATE members SET person_id = 0",
    "UPDATE members SET person_id = 1 << 62",
    "UPDATE members SET similarity = 9e999",
    "INSERT INTO members VALUES (999, 1, 0.5, 0)",
    "INSERT INTO persons VALUES (77, 1, 0.5)",
    "UPDATE persons SET cohesion = 9e999",
    "INSERT INTO suggestions VALUES (-1, 2, 0.5)",
    "UPDATE edges SET others = x'00'",
    "UPDATE edges SET similarities = x''",
    "UPDATE grouping SET last_person = -5",
    "UPDATE grouping SET least = 9e999",
]


@pytest.mark.parametrize("digest", ["x'00'", "x'2e2e2f2e2e2f2e2e78'", "zeroblob(17)"])
def test_a_digest_of_another_length_groups_nobody(index: Path, digest: str) -> None:
    alter(index, f"UPDATE photos SET digest = {digest} WHERE photo_id = 1")
    with pytest.raises(IndexDamaged):
        IndexPeople(index).update()


def test_a_forged_decision_stops_a_removal(index: Path) -> None:
    alter(index, "UPDATE anchors SET box = x'00'")
    with open_writer(index) as writer, pytest.raises(IndexDamaged):
        writer.remove(writer.plan_removal([], [1]))
    with open_reader(index) as reader:
        assert reader.face(1).face_id == 1


@pytest.mark.parametrize("statement", [*DECISIONS, *GROUPS])
def test_damage_is_found_and_mended(index: Path, statement: str) -> None:
    alter(index, statement)
    with open_reader(index) as reader:
        assert list(reader.check()) != []
    assert repair_index(index) != []
    with open_reader(index) as reader:
        assert list(reader.check()) == []
    people = IndexPeople(index)
    assert len(people.listed(Choice(Which.ALL))) == 2
    if statement in GROUPS:
        assert people.listed()[0].name == "Ann"
        assert len(people.faces("Ann")) == 4


@pytest.mark.parametrize("statement", DECISIONS)
def test_forged_decisions_are_refused(index: Path, statement: str) -> None:
    alter(index, statement, "UPDATE grouping SET generation = 0")
    with pytest.raises(IndexDamaged, match="did not write"):
        IndexPeople(index).listed()


def test_a_circle_of_merges_ends(index: Path) -> None:
    people = IndexPeople(index)
    people.merge(1, 2)
    alter(index, "INSERT INTO decisions (step, time_ns, kind, person_id, name, other) VALUES (9, 0, 'join', 2, '', 1)")
    assert [one.name for one in people.listed()] == ["Ann"]


def test_rows_of_another_type_are_refused(index: Path) -> None:
    """Tables are STRICT, so that a forger has to take the schema with them."""
    with pytest.raises(sqlite3.IntegrityError):
        alter(index, "UPDATE decisions SET name = x'00'")


def test_an_index_of_before_has_nobody_until_it_is_written(index: Path) -> None:
    base = index / "catalog.old"
    with closing(sqlite3.connect(base, isolation_level=None)) as old:
        for number, script in enumerate(schema.MIGRATIONS[: schema.PEOPLE_FROM - 1], 1):
            schema.migrate(old, number, script)
        old.execute("ATTACH ? AS late", (str(index / "catalog.db"),))
        for (table,) in old.execute("SELECT name FROM main.sqlite_schema WHERE sql LIKE 'CREATE TABLE%'").fetchall():
            if table != "sqlite_sequence":
                columns = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
                old.execute(f"DELETE FROM main.{table}")
                old.execute(f"INSERT INTO main.{table} ({columns}) SELECT {columns} FROM late.{table}")
    old.close()
    for name in ("catalog.db-wal", "catalog.db-shm"):
        (index / name).unlink(missing_ok=True)
    base.replace(index / "catalog.db")
    with open_reader(index) as reader:
        stored = reader.people
        assert (stored.exists, stored.decisions(), stored.members(), stored.totals()) == (False, (), [], (0, 0))
        assert (stored.counts(), stored.persons(), stored.suggestions(), stored.person_of(1)) == ({}, [], [], None)
        assert len(stored.embeddings(1)) == len(stored.edges().face_ids) == 0
        assert stored.newer_faces() == 9
        assert list(reader.check()) == []
    assert [one.faces for one in IndexPeople(index).listed()] == [5, 4]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["before begin people", "after begin people", "before commit people"])
def test_a_change_that_is_broken_off_changes_nothing(index: Path, step: str) -> None:
    people = IndexPeople(index)
    before = people.export()

    def die(now: str) -> None:
        if now == step:
            raise Killed

    with pytest.raises(Killed), open_writer(index, at=die) as writer:
        PeopleEditor(writer.people, SilentReporter()).merge([1, 2])
    assert people.export() == before
    with open_reader(index) as reader:
        assert list(reader.check()) == []


def test_edges_come_back_as_they_were_and_only_changed_rows_are_written(index: Path) -> None:
    with open_writer(index) as writer:
        connection, edges = writer._writing.connection, writer.people.edges()
        assert len(edges.others) > 0
        before = connection.total_changes
        write_edges(connection, edges)
        assert connection.total_changes == before
        starts = np.zeros(len(edges.face_ids), np.int64)
        less = EdgeTable(edges.face_ids[1:], edges.digests[1:], starts, edges.others[:0], edges.similarities[:0])
        write_edges(connection, less)
        again = writer.people.edges()
        assert np.array_equal(again.face_ids, less.face_ids)
        assert len(again.others) == 0


def test_a_face_that_only_others_name_has_a_row_without_neighbours() -> None:
    rows = [(3, 7, np.array([5, 9], "<i8").tobytes(), np.array([0.6, 0.5], "<f4").tobytes())]
    edges = read_edges(rows)
    assert edges.face_ids.tolist() == [3, 5, 9]
    assert edges.digests.tolist() == [7, 0, 0]
    assert edges.starts.tolist() == [0, 2, 2, 2]
    assert edges.face_ids[edges.others].tolist() == [5, 9]


def test_edges_are_kept_when_photos_come_and_go(index: Path, tmp_path: Path) -> None:
    people = IndexPeople(index)
    put(index, [portrait(tmp_path / f"ann-{n}.jpg", ["ann"]) for n in range(5, 8)])
    with open_writer(index) as writer:
        gone = next(photo for photo in writer.photos() if photo.file.path.endswith("ben-0.jpg"))
        writer.prune([gone.photo_id])
        writer.finish()
    with_edges = people.export()
    with open_writer(index) as writer:
        writer._writing.connection.execute("DELETE FROM edges")
        writer._writing.connection.execute("UPDATE grouping SET generation = 0")
    assert people.export() == with_edges
