"""The tables of the catalogue, created by numbered migrations, each in one transaction."""

from __future__ import annotations

import sqlite3
from functools import cache

from facecli.config import INDEX_MARK

APPLICATION_ID = INDEX_MARK
"""The application id in the SQLite header of a facecli catalogue ("face")."""

# SQLite stores these texts, and every opening compares them: not a character may change, so a backslash breaks lines.
FIRST = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    last_epoch INTEGER NOT NULL,
    pending INTEGER NOT NULL,
    keep_out_key BLOB NOT NULL
) STRICT;
CREATE TABLE sets (
    set_id INTEGER PRIMARY KEY,
    current INTEGER NOT NULL UNIQUE,
    fingerprint TEXT NOT NULL,
    licence TEXT NOT NULL,
    model_directory BLOB,
    epoch INTEGER NOT NULL,
    mark BLOB NOT NULL,
    slots INTEGER NOT NULL,
    photos INTEGER NOT NULL DEFAULT 0,
    faces INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE photos (
    photo_id INTEGER PRIMARY KEY AUTOINCREMENT,
    set_id INTEGER NOT NULL,
    digest BLOB NOT NULL,
    path BLOB NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    again INTEGER NOT NULL DEFAULT 0,
    checksum INTEGER NOT NULL,
    UNIQUE (set_id, path)
) STRICT;
CREATE INDEX photos_by_digest ON photos (digest, set_id);
CREATE TABLE faces (
    face_id INTEGER PRIMARY KEY AUTOINCREMENT,
    set_id INTEGER NOT NULL,
    photo_id INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    box BLOB NOT NULL,
    score REAL NOT NULL,
    found_by INTEGER NOT NULL,
    landmarks BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    UNIQUE (set_id, slot)
) STRICT;
CREATE INDEX faces_by_photo ON faces (photo_id);
CREATE TABLE embeddings (face_id INTEGER PRIMARY KEY, embedding BLOB NOT NULL) STRICT;
CREATE TABLE holes (set_id INTEGER, slot INTEGER, erased INTEGER NOT NULL, PRIMARY KEY (set_id, slot)) \
STRICT, WITHOUT ROWID;
CREATE TABLE skips (
    path BLOB PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    reason TEXT NOT NULL,
    detail TEXT NOT NULL,
    refused_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE roots (path BLOB, mount INTEGER, PRIMARY KEY (path, mount)) STRICT, WITHOUT ROWID;
CREATE TABLE kept_out (token BLOB NOT NULL, face_id INTEGER, box BLOB) STRICT;
CREATE INDEX kept_out_by_token ON kept_out (token);
CREATE TRIGGER photo_added AFTER INSERT ON photos BEGIN
    UPDATE sets SET photos = photos + 1 WHERE set_id = new.set_id;
END;
CREATE TRIGGER photo_dropped AFTER DELETE ON photos BEGIN
    DELETE FROM faces WHERE photo_id = old.photo_id;
    UPDATE sets SET photos = photos - 1 WHERE set_id = old.set_id;
    UPDATE state SET pending = 1;
END;
CREATE TRIGGER face_added AFTER INSERT ON faces BEGIN
    UPDATE sets SET faces = faces + 1 WHERE set_id = new.set_id;
END;
CREATE TRIGGER face_dropped AFTER DELETE ON faces BEGIN
    DELETE FROM embeddings WHERE face_id = old.face_id;
    INSERT OR REPLACE INTO holes (set_id, slot, erased) VALUES (old.set_id, old.slot, 0);
    UPDATE sets SET faces = faces - 1 WHERE set_id = old.set_id;
    UPDATE state SET pending = 1;
END;
"""
CHANGES = """
ALTER TABLE photos ADD COLUMN ctime_ns INTEGER;
ALTER TABLE photos ADD COLUMN inode INTEGER;
ALTER TABLE skips ADD COLUMN ctime_ns INTEGER;
ALTER TABLE skips ADD COLUMN inode INTEGER;
ALTER TABLE roots ADD COLUMN file_system INTEGER;
"""
"""Columns for ctime and inode, which reveal that a file was replaced by one of the same size and mtime, and for the
file system at a mount point, which reveals that another disk is mounted there. NULL where not known."""
PARTS = """
ALTER TABLE state ADD COLUMN part TEXT;
DROP TRIGGER photo_added;
DROP TRIGGER face_added;
"""
"""A column for the part of the photos that the index is restricted to, NULL for all. Added rows are counted by the
statement that ends a batch: triggers, which count each row, took a third of the time of a merge."""
PEOPLE = """
CREATE TABLE decisions (
    decision_id INTEGER PRIMARY KEY AUTOINCREMENT,
    step INTEGER NOT NULL,
    time_ns INTEGER NOT NULL,
    kind TEXT NOT NULL,
    person_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    other INTEGER NOT NULL
) STRICT;
CREATE TABLE anchors (
    anchor_id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    box BLOB NOT NULL,
    face_id INTEGER NOT NULL,
    UNIQUE (digest, box)
) STRICT;
CREATE INDEX anchors_by_face ON anchors (face_id);
CREATE TABLE decided (decision_id INTEGER, anchor_id INTEGER, PRIMARY KEY (decision_id, anchor_id)) \
STRICT, WITHOUT ROWID;
CREATE INDEX decided_by_anchor ON decided (anchor_id);
CREATE TRIGGER anchor_dropped AFTER DELETE ON anchors BEGIN
    DELETE FROM decided WHERE anchor_id = old.anchor_id;
END;
CREATE TRIGGER decision_dropped AFTER DELETE ON decisions BEGIN
    DELETE FROM decided WHERE decision_id = old.decision_id;
END;
CREATE TABLE grouping (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    last_person INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    signature INTEGER NOT NULL,
    last_face INTEGER NOT NULL,
    threshold REAL,
    least REAL NOT NULL
) STRICT;
CREATE TABLE members (
    face_id INTEGER PRIMARY KEY,
    person_id INTEGER NOT NULL,
    similarity REAL NOT NULL,
    decided INTEGER NOT NULL
) STRICT;
CREATE INDEX members_by_person ON members (person_id);
CREATE TABLE persons (person_id INTEGER PRIMARY KEY, cover INTEGER NOT NULL, cohesion REAL NOT NULL) STRICT;
CREATE TABLE suggestions (person_id INTEGER, other INTEGER, similarity REAL NOT NULL, PRIMARY KEY (person_id, other)) \
STRICT, WITHOUT ROWID;
CREATE TABLE edges (
    face_id INTEGER PRIMARY KEY,
    digest INTEGER NOT NULL,
    others BLOB NOT NULL,
    similarities BLOB NOT NULL
) STRICT;
CREATE TRIGGER face_ungrouped AFTER DELETE ON faces BEGIN
    DELETE FROM members WHERE face_id = old.face_id;
    DELETE FROM edges WHERE face_id = old.face_id;
END;
"""
"""Decisions about people, which are kept, and groups, which can be made again from faces and decisions."""
EXCLUDES = """
CREATE TABLE excludes (place INTEGER PRIMARY KEY, pattern TEXT NOT NULL) STRICT;
"""
"""The patterns of --exclude, in the order in which they were given, as gitignore needs it."""
CAPTURES = """
ALTER TABLE photos ADD COLUMN looked INTEGER;
ALTER TABLE photos ADD COLUMN taken_ms INTEGER;
ALTER TABLE photos ADD COLUMN offset_minutes INTEGER;
ALTER TABLE photos ADD COLUMN latitude REAL;
ALTER TABLE photos ADD COLUMN longitude REAL;
ALTER TABLE photos ADD COLUMN make TEXT;
ALTER TABLE photos ADD COLUMN model TEXT;
CREATE INDEX photos_unlooked ON photos (photo_id) WHERE looked IS NULL;
"""
"""Columns for when, where and with what a photo was taken, and for the version of what read it, NULL where nothing
did. The index holds only photos that an earlier version indexed, until a run has looked at them."""
MIGRATIONS: tuple[str, ...] = (FIRST, CHANGES, PARTS, PEOPLE, EXCLUDES, CAPTURES)
"""Script n takes a catalogue from version n to n + 1. A reader cannot migrate; it reads NULL for missing columns."""
CHANGES_FROM = 1 + MIGRATIONS.index(CHANGES)
"""The first version that has the columns of CHANGES."""
PARTS_FROM = 1 + MIGRATIONS.index(PARTS)
"""The first version that has the column of PARTS."""
PEOPLE_FROM = 1 + MIGRATIONS.index(PEOPLE)
"""The first version that has the tables of PEOPLE."""
CAPTURES_FROM = 1 + MIGRATIONS.index(CAPTURES)
"""The first version that has the columns of CAPTURES."""
EXCLUDES_FROM = 1 + MIGRATIONS.index(EXCLUDES)
"""The first version that has the table of EXCLUDES."""


def migrate(connection: sqlite3.Connection, number: int, script: str) -> None:
    """Run one migration inside the caller's transaction, and record its version."""
    for statement in _statements(script):
        connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {number:d}")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID:d}")


Definitions = tuple[tuple[str, ...], ...]


@cache
def expected(migrations: tuple[str, ...]) -> Definitions:
    """The definitions of everything that these migrations create, including what SQLite adds.

    A catalogue with any other definition was not written by facecli; its triggers and views must not run.
    """
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for number, script in enumerate(migrations, 1):
            migrate(connection, number, script)
        return definitions(connection)
    finally:
        connection.close()


def definitions(connection: sqlite3.Connection) -> Definitions:
    """Type, name, table and definition of everything in a catalogue, sorted.

    At most 1000 rows are read, far more than facecli creates.
    """
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema LIMIT 1000")
    return tuple(sorted(tuple(map(str, row)) for row in rows))


def _statements(script: str) -> list[str]:
    """Split a script into statements; `executescript` would commit the caller's transaction."""
    found, part = [], ""
    for line in script.splitlines(keepends=True):
        part += line
        if part.strip() and sqlite3.complete_statement(part):
            found.append(part.strip())
            part = ""
    return found
