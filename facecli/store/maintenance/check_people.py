"""Verify what the catalogue holds about people, and mend it: groups are made again, unreadable decisions dropped."""

from __future__ import annotations

from collections.abc import Iterator

from facecli.errors import IndexDamaged
from facecli.store.catalog.queries import Catalogue
from facecli.store.people.log import MOST_PEOPLE
from facecli.store.people.reading import StoredPeople
from facecli.store.people.writing import drop_groups, drop_idle
from facecli.store.records import Problem
from facecli.wording import counted

_DERIVED = {
    "members of people": "members WHERE face_id NOT IN (SELECT face_id FROM faces)",
    "people without faces": "persons WHERE person_id NOT IN (SELECT person_id FROM members) AND person_id NOT IN "
    "(SELECT person_id FROM decisions)",
}
_DECIDED = {
    "faces of decisions": "decided WHERE decision_id NOT IN (SELECT decision_id FROM decisions) "
    "OR anchor_id NOT IN (SELECT anchor_id FROM anchors)",
}

_PERSON_IDS = (("members", "person_id"), ("decisions", "person_id"), ("grouping", "last_person"))


def check_people(catalogue: Catalogue) -> Iterator[Problem]:
    """Problems of decisions and groups."""
    people = StoredPeople(catalogue)
    if not people.exists:
        return
    for what, which in {**_DERIVED, **_DECIDED}.items():
        if loose := catalogue.number(f"SELECT count(*) FROM {which}"):
            yield Problem(f"{loose} {what} are orphaned", str(catalogue.path))
    if _trouble(people, derived=False):
        yield Problem("decisions about people are damaged", str(catalogue.path))
    if _trouble(people, derived=True):
        yield Problem("the groups of people are damaged", str(catalogue.path))


def _trouble(people: StoredPeople, *, derived: bool) -> bool:
    parts = (people.grouping, people.members, people.persons, people.suggestions, people.edges)
    try:
        for part in parts if derived else (people.decisions,):
            part()
    except IndexDamaged:
        return True
    return False


def mend_people(catalogue: Catalogue) -> list[str]:
    """Drop damaged groups, which the next command makes again, and decisions that cannot be read.

    Within the caller's transaction.
    """
    people, connection = StoredPeople(catalogue), catalogue.connection
    said: list[str] = []
    if sum(catalogue.number(f"SELECT count(*) FROM {which}") for which in _DERIVED.values()) or _trouble(
        people, derived=True
    ):
        last = max(
            catalogue.number(f"SELECT max({column}) FROM {table} WHERE {column} BETWEEN 0 AND ?", (MOST_PEOPLE // 2,))
            for table, column in _PERSON_IDS
        )
        drop_groups(connection)
        connection.execute("DELETE FROM edges")
        connection.execute("INSERT INTO grouping VALUES (1, ?, 0, 0, 0, NULL, 1)", (last,))
        said.append(f"the groups of people are dropped, the next run makes them again: {catalogue.path}")
    for table, rows in people.unreadable().items():
        for (row,) in rows:
            connection.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        if rows:
            said.append(f"dropped {counted(len(rows), 'record')} of decisions about people: {catalogue.path}")
    for which in _DECIDED.values():
        connection.execute(f"DELETE FROM {which}")
    drop_idle(connection)
    return said
