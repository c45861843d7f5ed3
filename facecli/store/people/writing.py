"""Change decisions and groups, each change in one transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable

from facecli.store.catalog.connection import transaction
from facecli.store.catalog.queries import Catalogue
from facecli.store.disk.durable import Disk
from facecli.store.errors import explained
from facecli.store.people.edges import write_edges
from facecli.store.people.reading import StoredPeople
from facecli.store.people.records import Anchor, Decision, FaceKey, Groups, PeopleChange

_ADD = "INSERT INTO decisions (step, time_ns, kind, person_id, name, other) VALUES (?, ?, ?, ?, ?, ?)"


class PeopleWriter(StoredPeople):
    """People of an index that is open for writing."""

    def __init__(self, reading: Catalogue, writing: Catalogue, disk: Disk, lost: Callable[[bytes], None]) -> None:
        super().__init__(reading)
        self._writing, self._disk, self._lost = writing, disk, lost

    def change(self, change: PeopleChange) -> None:
        """Make a change, all of it or nothing."""
        connection = self._writing.connection
        with explained(self._writing.path), transaction(connection, self._disk, "people"):
            for key, anchor in change.anchors:
                _move_anchor(connection, key, anchor)
            self._drop(change.dropped)
            self._add(change.added)
            if change.groups is not None:
                _put_groups(connection, change.groups)
            if change.edges is not None:
                write_edges(connection, change.edges)

    def _drop(self, decision_ids: Iterable[int]) -> None:
        connection = self._writing.connection
        for decision_id in decision_ids:
            rows = connection.execute(
                "DELETE FROM decisions WHERE decision_id = ? RETURNING name", (decision_id,)
            ).fetchall()
            for (name,) in rows:
                self._lost(name.encode())
        drop_idle(connection)

    def _add(self, decisions: Iterable[Decision]) -> None:
        connection = self._writing.connection
        step = 1 + connection.execute("SELECT coalesce(max(step), 0) FROM decisions").fetchone()[0]
        now = time.time_ns()
        for one in decisions:
            values = (step, now, str(one.kind), one.person_id, one.name, one.other)
            decision_id = connection.execute(_ADD, values).lastrowid
            connection.executemany(
                "INSERT OR IGNORE INTO decided (decision_id, anchor_id) VALUES (?, ?)",
                [(decision_id, _anchor_id(connection, anchor)) for anchor in one.faces],
            )


def _anchor_id(connection: sqlite3.Connection, anchor: Anchor) -> int:
    query = "SELECT anchor_id FROM anchors WHERE digest = ? AND box = ?"
    row = connection.execute(query, anchor.key).fetchone()
    if row is not None:
        return int(row[0])
    added = connection.execute(
        "INSERT INTO anchors (digest, box, face_id) VALUES (?, ?, ?)", (anchor.digest, anchor.box, anchor.face_id)
    ).lastrowid
    assert added is not None
    return added


def _move_anchor(connection: sqlite3.Connection, key: FaceKey, anchor: Anchor) -> None:
    """Give an anchor another key; where one with that key is there, the two become one."""
    row = connection.execute("SELECT anchor_id FROM anchors WHERE digest = ? AND box = ?", key).fetchone()
    if row is None:
        return
    standing = connection.execute("SELECT anchor_id FROM anchors WHERE digest = ? AND box = ?", anchor.key).fetchone()
    if standing is not None and standing != row:
        connection.execute("UPDATE OR IGNORE decided SET anchor_id = ? WHERE anchor_id = ?", (*standing, *row))
        connection.execute("DELETE FROM anchors WHERE anchor_id = ?", row)
        return
    connection.execute(
        "UPDATE anchors SET digest = ?, box = ?, face_id = ? WHERE anchor_id = ?",
        (anchor.digest, anchor.box, anchor.face_id, *row),
    )


def drop_idle(connection: sqlite3.Connection) -> None:
    """Delete anchors of no decision, and decisions about faces that have none left."""
    about_faces = "kind IN ('keep', 'place', 'reject', 'cover')"
    connection.execute(
        f"DELETE FROM decisions WHERE {about_faces} AND decision_id NOT IN (SELECT decision_id FROM decided)"
    )
    connection.execute("DELETE FROM anchors WHERE anchor_id NOT IN (SELECT anchor_id FROM decided)")


def _put_groups(connection: sqlite3.Connection, groups: Groups) -> None:
    """Replace all groups."""
    drop_groups(connection)
    made = groups.grouping
    connection.execute(
        "INSERT INTO grouping (id, last_person, generation, signature, last_face, threshold, least) "
        "VALUES (1, ?, ?, ?, ?, ?, ?)",
        (made.last_person, made.generation, made.signature, made.last_face, made.threshold, made.least),
    )
    connection.executemany(
        "INSERT INTO members (face_id, person_id, similarity, decided) VALUES (?, ?, ?, ?)",
        [(one.face_id, one.person_id, one.similarity, int(one.decided)) for one in groups.members],
    )
    connection.executemany(
        "INSERT INTO persons (person_id, cover, cohesion) VALUES (?, ?, ?)",
        [(one.person_id, one.cover, one.cohesion) for one in groups.persons],
    )
    connection.executemany(
        "INSERT INTO suggestions (person_id, other, similarity) VALUES (?, ?, ?)",
        [(one.person_id, one.other, one.similarity) for one in groups.suggestions],
    )


def drop_groups(connection: sqlite3.Connection) -> None:
    """Delete what is derived from faces and decisions, but for the edges and the highest id of a person."""
    for table in ("members", "persons", "suggestions", "grouping"):
        connection.execute(f"DELETE FROM {table}")
