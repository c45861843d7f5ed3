"""Erase the decisions about faces that are removed for good."""

from __future__ import annotations

import sqlite3

from facecli.store.catalog.rows import as_bytes, read_boxes
from facecli.store.people.following import match_places
from facecli.store.people.writing import drop_idle


def erase_content(connection: sqlite3.Connection, digest: bytes) -> bool:
    """Erase all decisions about the faces of a content; returns whether there were any."""
    gone = connection.execute("DELETE FROM anchors WHERE digest = ?", (digest,)).rowcount
    if gone:
        drop_idle(connection)
    return bool(gone)


def erase_face(connection: sqlite3.Connection, digest: bytes, box: bytes, face_id: int) -> None:
    """Erase the decisions about one face of a content, also those that were made with other settings."""
    rows = connection.execute("SELECT anchor_id, box FROM anchors WHERE digest = ?", (digest,)).fetchall()
    near = match_places(read_boxes([box]), read_boxes([as_bytes(other) for _, other in rows]))
    gone = {rows[j][0] for j in near.values()} | {number for number, other in rows if other == box}
    gone |= {number for (number,) in connection.execute("SELECT anchor_id FROM anchors WHERE face_id = ?", (face_id,))}
    connection.executemany("DELETE FROM anchors WHERE anchor_id = ?", [(number,) for number in sorted(gone)])
    if gone:
        drop_idle(connection)
