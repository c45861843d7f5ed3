"""The kept edges of the grouping, one row a face."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facecli.store.catalog.rows import as_bytes, as_int
from facecli.store.catalog.sets import Row
from facecli.store.people.records import EdgeTable

EdgeRow = tuple[int, bytes, bytes]
"""Digest, the ids of the other faces (int64), and the similarities (float32)."""
_UPSERT = "INSERT OR REPLACE INTO edges (face_id, digest, others, similarities) VALUES (?, ?, ?, ?)"


def read_edges(rows: Sequence[Row]) -> EdgeTable:
    """The table of the stored rows, ascending by face; raises ValueError on one that is not whole.

    A face that only others name has a row of its own: with digest 0, and without neighbours.
    """
    face_ids = np.array([as_int(row[0]) for row in rows], np.int64)
    digests = np.array([as_int(row[1]) for row in rows], np.int64).view(np.uint64)
    others = [np.frombuffer(as_bytes(row[2]), "<i8") for row in rows]
    similarities = [np.frombuffer(as_bytes(row[3]), "<f4") for row in rows]
    if any(len(a) != len(b) for a, b in zip(others, similarities, strict=True)):
        raise ValueError("not edges")
    named = np.concatenate([np.zeros(0, np.int64), *others])
    values = np.concatenate([np.zeros(0, np.float32), *similarities])
    if not (np.abs(values) < 1.1).all():
        raise ValueError("not a similarity")
    everyone = np.union1d(face_ids, named)
    places = np.searchsorted(everyone, face_ids)
    counts = np.zeros(len(everyone), np.int64)
    counts[places] = [len(part) for part in others]
    known = np.zeros(len(everyone), np.uint64)
    known[places] = digests
    starts = np.concatenate([[0], np.cumsum(counts)])
    return EdgeTable(everyone, known, starts, np.searchsorted(everyone, named).astype(np.int32), values)


def write_edges(connection: sqlite3.Connection, edges: EdgeTable) -> None:
    """Store the edges; rows that are the same as before are not written again."""
    new = _rows_of(edges)
    gone: list[tuple[int]] = []
    stored = connection.execute("SELECT face_id, digest, others, similarities FROM edges").fetchall()
    for face_id, *row in stored:
        if new.get(face_id) == tuple(row):
            del new[face_id]
        elif face_id not in new:
            gone.append((face_id,))
    connection.executemany("DELETE FROM edges WHERE face_id = ?", gone)
    connection.executemany(_UPSERT, ((face_id, *row) for face_id, row in sorted(new.items())))


def _rows_of(edges: EdgeTable) -> dict[int, EdgeRow]:
    named: NDArray[np.int64] = edges.face_ids[edges.others].astype("<i8")
    values = edges.similarities.astype("<f4")
    bounds = edges.starts.tolist()
    digests = edges.digests.view(np.int64).tolist()
    return {
        face_id: (digests[i], named[bounds[i] : bounds[i + 1]].tobytes(), values[bounds[i] : bounds[i + 1]].tobytes())
        for i, face_id in enumerate(edges.face_ids.tolist())
    }
