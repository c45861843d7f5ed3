"""A forged index: its tables, settings and values are what facecli writes, or are refused with one of our errors."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attacks import change_catalogue, in_child, limited_memory, vectors_of, with_every_question, write_something
from synthetic import DIMENSION, KIND, make_photos, write

from facecli import fingerprint
from facecli.config import By
from facecli.errors import FacecliError, IndexDamaged, StoreError
from facecli.fingerprint import Fingerprint
from facecli.store.reader import open_reader
from facecli.store.writer import open_writer, repair_index
from facecli.types import Match

OPENINGS = (open_reader, open_writer, repair_index)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write(tmp_path / ".facecli", make_photos(tmp_path, 9))
    return tmp_path / ".facecli"


SMUGGLED = (
    "CREATE TRIGGER sqlitezevil AFTER INSERT ON photos BEGIN DELETE FROM faces; END",
    "CREATE VIEW sqlitexview AS SELECT * FROM faces",
    "CREATE TABLE SQLITEy (x)",
    "CREATE INDEX sqlite9i ON faces (score)",
    "CREATE TABLE more (x CHECK (x > 0), y GENERATED ALWAYS AS (x * 2))",
    "CREATE INDEX part ON faces (score) WHERE score > 0",
    "CREATE INDEX noted ON skips (detail COLLATE NOCASE)",
    "CREATE VIRTUAL TABLE words USING fts5 (x)",
    "ALTER TABLE faces ADD COLUMN more REAL AS (score * 2)",
    "ANALYZE",
    "DROP TRIGGER face_dropped",
    "DROP INDEX faces_by_photo",
)


@pytest.mark.parametrize("statement", SMUGGLED)
def test_whatever_facecli_did_not_make_is_refused_by_any_name(index: Path, statement: str) -> None:
    change_catalogue(index, statement)
    for opening in OPENINGS:
        with pytest.raises(IndexDamaged, match="not the ones that facecli creates"):
            opening(index)


@pytest.mark.parametrize("name", ["sqlite_evil", "sqlite_sequence2", "SQLITE_stat9", "sqlite_autoindex_photos_9"])
def test_a_name_of_sqlites_own_hides_nothing(index: Path, name: str) -> None:
    with contextlib.closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as base:
        base.execute("CREATE TRIGGER evil AFTER INSERT ON photos BEGIN DELETE FROM faces; END")
        base.execute("PRAGMA writable_schema = ON")
        base.execute(
            "UPDATE sqlite_schema SET name = ?, sql = replace(sql, 'evil', ?) WHERE name = 'evil'", (name, name)
        )
    for opening in OPENINGS:
        with pytest.raises(StoreError):
            opening(index)


def test_a_definition_that_stands_twice_is_refused(index: Path) -> None:
    """A thousand equal definitions, after which another one would not be read."""
    with contextlib.closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as base:
        base.execute("PRAGMA writable_schema = ON")
        base.execute(
            "INSERT INTO sqlite_schema "
            "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema WHERE name = 'photo_dropped'"
        )
    for opening in OPENINGS:
        with pytest.raises(StoreError):
            opening(index)


@pytest.mark.parametrize("version", [0, -1, -(1 << 31)])
def test_a_version_that_is_none_is_refused(index: Path, version: int) -> None:
    change_catalogue(index, f"PRAGMA user_version = {version}")
    for opening in OPENINGS:
        with pytest.raises(IndexDamaged):
            opening(index)


# settings


def forge_setting(index: Path, **settings: Any) -> None:
    """Write settings into the fingerprint unchecked; None deletes one."""
    with contextlib.closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as base:
        record = json.loads(base.execute("SELECT fingerprint FROM sets").fetchone()[0]) | settings
        text = json.dumps({name: value for name, value in record.items() if value is not None})
        base.execute("UPDATE sets SET fingerprint = ?", (text,))


FORGED_SETTINGS: list[dict[str, Any]] = [
    {"det_size": 64000},
    {"det_size": -640},
    {"det_size": 650},
    {"det_size": 1e300},
    {"det_size": "640"},
    {"small_scale": 1 << 40},
    {"min_score": float("nan")},
    {"min_score": float("inf")},
    {"min_score": -1},
    {"min_face": -5},
    {"min_face": 1 << 70},
    {"rotate": 2},
    {"tiles": "no"},
    {"precision": "guess"},
    {"precision": ["fast"]},
    {"reading": 0},
    {"alignment": "1"},
    {"dimension": 1 << 40},
    {"dimension": True},
    {"dimension": 0},
    {"model": 5},
    {"model": "x" * 5000},
    {"model": "\ud800"},
    {"detector_sha256": "../../x"},
    {"recogniser_sha256": None},
]


@pytest.mark.parametrize("settings", FORGED_SETTINGS, ids=str)
def test_a_setting_out_of_bounds_is_refused(index: Path, settings: dict[str, Any]) -> None:
    forge_setting(index, **settings)
    for opening in OPENINGS[:2]:
        with pytest.raises(IndexDamaged, match="a value that facecli did not write"):
            opening(index)


def test_settings_that_are_no_settings_are_refused(index: Path) -> None:
    for text in ("[]", "5", '"x"', "null", "[" * 100_000, "9" * 5000):
        with contextlib.closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as base:
            base.execute("UPDATE sets SET fingerprint = ?", (text,))
        with pytest.raises(IndexDamaged):
            open_reader(index)


@pytest.mark.parametrize("name", sorted(fingerprint.BEFORE))
def test_a_setting_that_an_older_index_lacks_is_what_versions_did_without_it(index: Path, name: str) -> None:
    forge_setting(index, **{name: None})
    with open_reader(index) as reader:
        assert reader.info.fingerprint == KIND.fingerprint
    with open_writer(index, KIND) as writer:
        assert list(writer.check()) == []


def test_every_setting_says_what_was_before_it() -> None:
    """Each added setting has a value for indexes made without it."""
    record = KIND.fingerprint.to_record()
    assert Fingerprint.unknown(record) == []
    assert set(record) - set(fingerprint.BEFORE) == {"model", "detector_sha256", "recogniser_sha256", "dimension"}
    assert Fingerprint.from_record(json.loads(json.dumps(record))) == KIND.fingerprint


def test_a_setting_of_a_newer_version_is_named(index: Path) -> None:
    forge_setting(index, mirror=True, zoom=3)
    for opening in OPENINGS:
        with pytest.raises(StoreError, match=r"settings of a newer facecli \(mirror, zoom\)") as caught:
            opening(index)
        assert "facecli that made it" in caught.value.hint


# values

FORGED_VALUES = (
    "UPDATE sets SET photos = -3, faces = -1 << 62",
    "UPDATE sets SET photos = 9223372036854775807, faces = 9223372036854775807",
    "UPDATE sets SET slots = -1",
    "UPDATE sets SET epoch = 9223372036854775807",
    "UPDATE sets SET licence = CAST(zeroblob(900000) AS TEXT)",
    "UPDATE sets SET model_directory = CAST('a' || char(0) AS BLOB)",
    "UPDATE sqlite_sequence SET seq = 'many'",
    "UPDATE sqlite_sequence SET seq = 9223372036854775807",
    "UPDATE sqlite_sequence SET seq = -5",
    "UPDATE state SET generation = 9223372036854775807",
    "UPDATE state SET last_epoch = 9223372036854775807",
    "UPDATE state SET keep_out_key = x''",
    "UPDATE photos SET path = CAST('a' || char(0) AS BLOB) WHERE photo_id = 2",
    "UPDATE photos SET path = x'' WHERE photo_id = 2",
    "UPDATE photos SET path = CAST('../../etc/passwd' AS BLOB) WHERE photo_id = 2",
    "UPDATE photos SET path = CAST('/home/../etc/passwd' AS BLOB) WHERE photo_id = 2",
    "UPDATE faces SET score = 9e999",
    "UPDATE faces SET box = x'0000c07f0000c07f0000c07f0000c07f'",
    "UPDATE faces SET landmarks = zeroblob(40), box = x'0000807f0000807f0000807f0000807f'",
    "UPDATE embeddings SET embedding = zeroblob(128)",
    "INSERT INTO roots (path, mount) VALUES (x'', 0)",
    "INSERT INTO roots (path, mount) VALUES (CAST('/a' || char(0) || 'b' AS BLOB), 0)",
    "INSERT INTO roots (path, mount) VALUES (CAST('../..' AS BLOB), 1)",
    (
        "INSERT INTO skips (path, size, mtime_ns, reason, detail, refused_by) "
        "VALUES (CAST('x' || char(0) AS BLOB), 1, 2, 'truncated', '', '')"
    ),
    (
        "INSERT INTO skips (path, size, mtime_ns, reason, detail, refused_by) "
        "VALUES (CAST('x' AS BLOB), 1, 2, 'moon', '', '')"
    ),
    "INSERT INTO kept_out VALUES (x'00', 5, x'00')",
)


@pytest.mark.parametrize("change", FORGED_VALUES)
def test_a_forged_value_is_an_answer_or_an_error_of_ours(index: Path, tmp_path: Path, change: str) -> None:
    change_catalogue(index, change)

    def act() -> None:
        with_every_question(index)
        for opening in (open_writer, repair_index):
            with contextlib.suppress(FacecliError):
                done = opening(index)
                if not isinstance(done, list):
                    write_something(done, tmp_path)
        with_every_question(index)

    assert in_child(act) == 0


@pytest.mark.parametrize("change", [change for change in FORGED_VALUES if "path" in change or "roots" in change])
def test_a_path_that_is_none_is_found_and_given_up(index: Path, change: str) -> None:
    """A path with `..` cannot lead outside, and one invalid record does not make the index unusable."""
    with open_writer(index) as writer:
        writer.set_roots(["/albums"], {"/mnt": 7})
    change_catalogue(index, change)
    with open_reader(index) as reader:
        assert list(reader.check()) != []
    assert repair_index(index) != []
    with open_reader(index) as reader:
        assert list(reader.check()) == []
        assert not any(".." in photo.file.path or "\0" in photo.file.path for photo in reader.photos())
        assert (reader.roots(), reader.mounts()) == (("/albums",), {"/mnt": 7})


# embeddings


def forge_code(index: Path, face_id: int, code: np.ndarray[Any, Any]) -> None:
    """Give a face another embedding in the catalogue, the vector file and the checksum, so that all of them agree."""
    from facecli.store.catalog.rows import FaceRow

    with contextlib.closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as base:
        query = "SELECT photo_id, slot, box, score, found_by, landmarks FROM faces WHERE face_id = ?"
        photo_id, slot, *rest = base.execute(query, (face_id,)).fetchone()
        checksum = FaceRow(*rest, code.tobytes()).checksum(face_id, photo_id)
        base.execute("UPDATE embeddings SET embedding = ? WHERE face_id = ?", (code.tobytes(), face_id))
        base.execute("UPDATE faces SET checksum = ? WHERE face_id = ?", (checksum, face_id))
    with vectors_of(index).open("r+b") as file:
        file.seek(81 + slot * 2 * DIMENSION)
        file.write(code.tobytes())


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 60000, 1, 0.0], ids=str)
@pytest.mark.parametrize("scan", ["numpy", "faiss", "catalogue"])
def test_what_is_no_embedding_is_like_nobody(
    index: Path, value: float, scan: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedding that is not of unit length could match every query; it must not match, nor hide the others."""
    code = np.full(DIMENSION, value, "<f2")
    for face_id in range(3, 24):
        forge_code(index, face_id, code)
    if scan == "faiss":
        monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0)
    if scan == "catalogue":
        vectors_of(index).unlink()
    query = np.ones((1, DIMENSION), np.float32) / np.float32(np.sqrt(DIMENSION))
    with open_reader(index) as reader:
        for by in By:
            (matches,) = reader.nearest(query, top=2, minimum=None, by=by)
            assert len(matches) == 2
            assert all(abs(match.similarity) < 0.9 for match in matches)
        (everyone,) = reader.nearest(query, top=0, minimum=None, by=By.FACE)
        assert {match.face_id for match in everyone} == {1, 2, 24, 25, 26, 27}
        with pytest.raises(IndexDamaged):
            reader.face(5)
        assert sum("face:" in str(problem) for problem in reader.check()) >= 21


# the vector file


def test_a_vector_file_that_is_cut_while_it_is_read_is_answered_from_the_catalogue(index: Path) -> None:
    query = np.ones((1, DIMENSION), np.float32) / np.float32(8)

    def act() -> None:
        with open_reader(index) as reader:
            (before,) = reader.nearest(query, top=0, minimum=None, by=By.FACE)
            with vectors_of(index).open("r+b") as file:
                file.truncate(200)
            assert reader.nearest(query, top=0, minimum=None, by=By.FACE) == [before]
            assert "was truncated" in reader.notice
            assert any("vector" in str(problem) for problem in reader.check())

    assert in_child(act) == 0


def test_more_vectors_than_the_catalogue_can_know_are_not_read(index: Path) -> None:
    """A sparse file costs whoever forges it nothing, and whoever reads it to its end hours."""
    (before,) = search_by_ones(index)
    file, slots = vectors_of(index), 1 << 28
    with file.open("r+b") as stream:
        head = bytearray(stream.read(81))
        head[8:16], head[73:81] = slots.to_bytes(8, "little"), (slots * 2 * DIMENSION).to_bytes(8, "little")
        stream.seek(0)
        stream.write(head)
        stream.truncate(81 + slots * 2 * DIMENSION)
    change_catalogue(index, f"UPDATE sets SET slots = {slots}, faces = {slots}")

    def act() -> None:
        with limited_memory():
            assert search_by_ones(index) == [before]
            with open_reader(index) as reader:
                assert "too small" in reader.notice
                assert list(reader.check()) != []
            assert repair_index(index) != []

    assert in_child(act) == 0
    assert vectors_of(index).stat().st_size < 1 << 20


def search_by_ones(index: Path) -> list[list[Match]]:
    with open_reader(index) as reader:
        return reader.nearest(np.ones((1, DIMENSION), np.float32) / np.float32(8), top=0, minimum=None, by=By.FACE)


CUT = """
import os, sys, numpy
from pathlib import Path
from facecli.config import By
from facecli.store.search import backends, faiss_scan
from facecli.store.reader import open_reader
backends.FAISS_FROM, faiss_scan.FEW, faiss_scan.is_network = 0, 0, lambda _: sys.argv[2] == "True"
ask = lambda: reader.nearest(numpy.ones((1, 64), "f4") / 8, top=3, minimum=None, by=By.FACE)
with open_reader(Path(sys.argv[1])) as reader:
    before = ask()
    assert (reader._scan._mapped is None) == (sys.argv[2] == "True")
    os.truncate(next(Path(sys.argv[1]).glob("vectors-*")), 90)
    assert ask() == before
"""


@pytest.mark.parametrize("network", [False, True])
def test_a_cut_file_does_not_end_a_search_by_faiss(index: Path, *, network: bool) -> None:
    """FAISS maps the file, so its size is checked before each search; on network file systems it is not mapped."""
    subprocess.run([sys.executable, "-c", CUT, index, str(network)], check=True, timeout=120)


def test_settings_claim_no_memory(index: Path) -> None:
    forge_setting(index, det_size=1 << 50, dimension=1 << 31)
    with limited_memory(), pytest.raises(IndexDamaged):
        open_reader(index)
