"""Damage: `check` finds it, a repair fixes it, and no forged byte crashes a reader or makes it allocate memory."""

from __future__ import annotations

import itertools
import os
import resource
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attacks import change_catalogue, in_child, limited_memory, vectors_of, with_every_question, write_something
from msgspec.structs import replace
from synthetic import DIMENSION, contents, known_under, make_photo, make_photos, photo_id, write

from facecli.config import By
from facecli.errors import FacecliError, IndexDamaged, StoreError
from facecli.store.maintenance import checked_faces
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.writer import IndexWriter, open_writer, repair_index

HEADER = 81
CODE = 2 * DIMENSION


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Eight photos with three faces each, one of them dropped, so that there are holes."""
    write(tmp_path / ".facecli", make_photos(tmp_path, 9))
    with open_writer(tmp_path / ".facecli") as writer:
        writer.prune([photo_id(writer, tmp_path / "0004.jpg")])
        writer.finish()
    return tmp_path / ".facecli"


def problems(index: Path) -> list[str]:
    with open_reader(index) as reader:
        return [str(problem) for problem in reader.check()]


def everything(index: Path) -> list[tuple[object, ...]]:
    with open_reader(index) as reader:
        return contents(reader)


def answer(index: Path) -> list[tuple[int, float]]:
    query = np.ones((1, DIMENSION), np.float32) / np.float32(8)
    with open_reader(index) as reader:
        return [
            (match.face_id, match.similarity) for match in reader.nearest(query, top=0, minimum=None, by=By.FACE)[0]
        ]


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def test_a_sound_index_has_no_problems(index: Path) -> None:
    assert problems(index) == []


VECTOR_DAMAGE: dict[str, Callable[[Path], None]] = {
    "deleted": lambda file: file.unlink(),
    "emptied": lambda file: os.truncate(file, 0),
    "short": lambda file: os.truncate(file, HEADER + 10 * CODE),
    "cut in the header": lambda file: os.truncate(file, 50),
    "changed": lambda file: overwrite(file, HEADER + 3 * CODE + 7, b"changed!"),
    "an erased one brought back": lambda file: overwrite(file, HEADER + 12 * CODE, b"ghost"),
    "another epoch": lambda file: overwrite(file, 16, b"\7"),
    "set back": lambda file: overwrite(
        file, 0, file.read_bytes()[:8] + struct.pack("<q", 3) + file.read_bytes()[16:73] + struct.pack("<q", 3 * CODE)
    ),
    "a directory": lambda file: (file.unlink(), file.mkdir())[1],
}


@pytest.mark.parametrize("damage", VECTOR_DAMAGE)
def test_damage_to_the_vector_file_is_found_searched_past_and_mended(index: Path, damage: str) -> None:
    before, answered, file = everything(index), answer(index), vectors_of(index)
    whole = file.read_bytes()
    VECTOR_DAMAGE[damage](file)
    assert problems(index) != []
    if damage not in ("changed", "an erased one brought back"):
        assert answer(index) == answered
    if damage == "a directory":
        file.rmdir()
    assert repair_index(index) != []
    assert problems(index) == []
    assert (everything(index), answer(index)) == (before, answered)
    assert vectors_of(index).read_bytes() == whole
    assert repair_index(index) == []


def test_a_vector_file_longer_than_recorded_is_sound_and_its_tail_is_cleared(index: Path) -> None:
    file = vectors_of(index)
    whole, slots = file.read_bytes(), 27
    file.write_bytes(whole + b"tail of a batch" * 50)
    overwrite(file, 8, struct.pack("<q", slots + 2))
    overwrite(file, 73, struct.pack("<q", (slots + 2) * CODE))
    assert problems(index) == []
    open_writer(index).close()
    assert b"tail" not in file.read_bytes()
    assert problems(index) == []


def test_an_index_run_mends_the_vector_file_too(index: Path, tmp_path: Path) -> None:
    vectors_of(index).unlink()
    with open_writer(index) as writer:
        writer.commit(Batch(photos=(make_photo(tmp_path / "new.jpg"),)))
    assert problems(index) == []


def test_an_embedding_damaged_in_the_catalogue_comes_back_from_the_vector_file(index: Path) -> None:
    before = everything(index)
    change_catalogue(index, "UPDATE embeddings SET embedding = zeroblob(128) WHERE face_id = 5")
    (found,) = problems(index)
    assert "face:5 fails its checksum" in found
    assert "0001.jpg" in found
    assert ["restored from the vector file" in line for line in repair_index(index)] == [True]
    assert problems(index) == []
    assert everything(index) == before


@pytest.mark.parametrize(
    "change",
    ["box = x'00'", "box = zeroblob(16)", "score = 2", "checksum = 7", "landmarks = zeroblob(40)", "photo_id = 77"],
)
def test_a_face_that_cannot_be_mended_has_its_photo_embedded_again(index: Path, tmp_path: Path, change: str) -> None:
    change_catalogue(index, f"UPDATE faces SET {change} WHERE face_id = 5")
    assert any("face:5" in line for line in problems(index))
    assert any("face:5 is dropped" in line for line in repair_index(index))
    assert problems(index) == []
    with open_writer(index) as writer:
        known = writer.at(str(tmp_path / "0001.jpg"))
        assert known is not None
        if "photo_id" not in change:
            assert known.again
            writer.commit(Batch(photos=(make_photo(tmp_path / "0001.jpg"),)))
            assert writer.info.faces == 24
            writer.finish()
    assert problems(index) == []


@pytest.mark.parametrize(
    "change", ["width = 1", "digest = zeroblob(16)", "path = CAST('elsewhere.jpg' AS BLOB)", "checksum = 1"]
)
def test_a_photo_whose_record_is_damaged_is_looked_at_again(index: Path, change: str) -> None:
    change_catalogue(index, f"UPDATE photos SET {change} WHERE photo_id = 2")
    (found,) = problems(index)
    assert "the record of a photo fails its checksum" in found
    repair_index(index)
    assert problems(index) == []
    with open_reader(index) as reader:
        assert [known.photo_id for known in known_under(reader, "/") if known.again] == [2]


CATALOGUE_DAMAGE = {
    "a missing embedding": "DELETE FROM embeddings WHERE face_id = 5",
    "a loose embedding": "INSERT INTO embeddings VALUES (500, zeroblob(128))",
    "a wrong count": "UPDATE sets SET faces = 3, photos = 90",
    "a slot of nobody": "UPDATE sets SET slots = 26",
    "a slot too far": "UPDATE faces SET slot = 1000000000 WHERE face_id = 5",
    "a negative slot": "UPDATE faces SET slot = -5 WHERE face_id = 5",
    "a hole that is a face": "INSERT INTO holes VALUES (1, 3, 0)",
    "a hole too far": "INSERT INTO holes VALUES (1, 1000000000000, 0)",
    "a lost hole": "DELETE FROM holes",
    "a face of no set": "UPDATE faces SET set_id = 9 WHERE face_id = 5",
    "a photo of no set": "UPDATE photos SET set_id = 9 WHERE photo_id = 4",
}


@pytest.mark.parametrize("damage", CATALOGUE_DAMAGE)
def test_rows_that_do_not_agree_are_found_and_mended(index: Path, damage: str) -> None:
    change_catalogue(index, "UPDATE state SET pending = 1", CATALOGUE_DAMAGE[damage])
    assert problems(index) != []
    answer(index)
    repair_index(index)
    assert problems(index) == []
    assert len(answer(index)) in (21, 23, 24)


@pytest.mark.parametrize("page", [1, 2, 7, 2048])
def test_each_damaged_face_among_sound_ones_is_named_whatever_the_page(
    index: Path, page: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_faces, "PAGE", page)
    assert not problems(index)
    (file,) = index.glob("vectors-*")
    with open_reader(index) as reader:
        faces = [reader.rows("SELECT face_id, slot FROM faces WHERE slot = ?", (slot,))[0] for slot in (0, 8, 26)]
    overwrite(file, HEADER + CODE * int(str(faces[0][1])) + 1, b"\x33")
    change_catalogue(index, f"UPDATE faces SET score = 0.125 WHERE face_id = {faces[1][0]}")
    change_catalogue(index, f"UPDATE embeddings SET embedding = zeroblob({CODE}) WHERE face_id = {faces[2][0]}")
    named = sorted(line.partition(" ")[0].rstrip(":") for line in problems(index))
    assert named == sorted(f"face:{face}" for face, _ in faces)


@pytest.mark.parametrize("slots", [[], [5], [3, 4, 5], [9, 2, 2, 3, 0, 119, 118], [119, 0]])
@pytest.mark.parametrize("times", [1, 20])
def test_codes_of_some_slots_are_those_of_a_read_of_each(tmp_path: Path, slots: list[int], times: int) -> None:
    write(tmp_path / ".facecli", make_photos(tmp_path, 40))
    wanted = np.array(slots * times, np.int64)
    with open_reader(tmp_path / ".facecli") as reader:
        (row,) = reader.sets().values()
        stored = row.file.read(row.slots)
        assert stored.at(wanted).tobytes() == b"".join(map(stored.code, wanted.tolist()))


def test_foreign_tables_and_triggers_are_refused(index: Path) -> None:
    change_catalogue(index, "CREATE TRIGGER mine AFTER INSERT ON photos BEGIN DELETE FROM faces; END")
    for action in (open_reader, open_writer, repair_index):
        with pytest.raises(IndexDamaged, match="not the ones that facecli creates"):
            action(index)


@pytest.mark.parametrize(
    "data", [b"", b"\0" * 50_000, b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 9000]
)
def test_a_catalogue_that_is_none_is_an_error_for_all(index: Path, data: bytes) -> None:
    (index / "catalog.db").write_bytes(data)
    for action in (open_reader, open_writer, repair_index):
        with pytest.raises(StoreError) as caught:
            action(index)
        assert caught.value.where


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sets SET fingerprint = '{}'",
        "UPDATE sets SET fingerprint = 'no json'",
        "UPDATE sets SET fingerprint = replace(fingerprint, '64', '1000000000')",
        "UPDATE sets SET fingerprint = replace(fingerprint, ' 64', ' -64')",
        "UPDATE sets SET mark = x'00'",
        "UPDATE sets SET slots = 1 << 60",
        "UPDATE sets SET epoch = -1",
        "UPDATE sets SET current = 5",
        "DELETE FROM sets",
        "UPDATE photos SET digest = x'00'",
        "UPDATE photos SET size = -1 << 62, mtime_ns = -5, width = -3",
        "UPDATE photos SET ctime_ns = -1 << 62",
        "UPDATE photos SET ctime_ns = 5, inode = -1 << 62",
        "UPDATE skips SET inode = -5",
        "INSERT INTO roots VALUES (CAST('/' AS BLOB), 1, -1 << 62)",
        "UPDATE faces SET found_by = 99",
        "UPDATE faces SET box = zeroblob(1000)",
        "UPDATE skips SET reason = 'moon'",
        "UPDATE embeddings SET embedding = zeroblob(3)",
        "UPDATE embeddings SET embedding = zeroblob(3000000) WHERE face_id = 5",
        "UPDATE state SET keep_out_key = zeroblob(1000)",
        "DELETE FROM state",
    ],
)
def test_forged_values_are_errors_of_ours(index: Path, change: str) -> None:
    change_catalogue(
        index,
        "INSERT INTO skips (path, size, mtime_ns, reason, detail, refused_by) "
        "VALUES (CAST('x' AS BLOB), 1, 2, 'truncated', '', '')",
        change,
    )
    with_every_question(index)


def test_no_byte_of_the_vector_files_header_can_do_harm(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Try bad values in every byte of the header; FAISS reads the file wherever facecli would let it."""
    monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0)
    file, answered = vectors_of(index), answer(index)
    whole = file.read_bytes()
    with limited_memory():
        for place in range(HEADER):
            for value in (0, 1, 0x7F, 0x80, 0xFF, whole[place] ^ 1, whole[place] ^ 0x55):
                overwrite(file, place, bytes([value]))
                assert answer(index) == answered, (place, value)
                overwrite(file, place, whole[place : place + 1])
    assert file.read_bytes() == whole


def test_no_count_of_the_vector_file_claims_memory(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0)
    file, answered = vectors_of(index), answer(index)
    chance = np.random.default_rng(5)
    with limited_memory():
        for count in [0, -1, 1 << 40, 1 << 62, -(1 << 63), 26, 28, *chance.integers(0, 1 << 50, 30).tolist()]:
            for length in (count * CODE, 27 * CODE, (1 << 60) - 1):
                overwrite(file, 8, struct.pack("<q", count))
                overwrite(file, 73, struct.pack("<Q", length % (1 << 64)))
                assert answer(index) == answered


@pytest.mark.parametrize("seed", range(4))
def test_a_mutated_catalogue_gives_answers_or_errors_of_ours(index: Path, tmp_path: Path, seed: int) -> None:
    whole = (index / "catalog.db").read_bytes()
    (tmp_path / "keep").write_bytes(vectors_of(index).read_bytes())

    def act() -> None:
        chance = np.random.default_rng(seed)
        refused = 0
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(int(chance.integers(1, 30))):
                at, length = int(chance.integers(0, len(data))), int(chance.integers(1, 9))
                data[at : at + length] = (
                    chance.bytes(min(length, len(data) - at))
                    if chance.random() < 0.7
                    else b"\xff" * min(length, len(data) - at)
                )
            if chance.random() < 0.2:
                del data[int(chance.integers(0, len(data))) :]
            for path in index.glob("catalog.db*"):
                path.unlink()
            (index / "catalog.db").write_bytes(data)
            refused += with_every_question(index) > 0
            for action in (open_writer, repair_index):
                try:
                    done = action(index)
                    if isinstance(done, IndexWriter):
                        write_something(done, tmp_path)
                except FacecliError:
                    refused += 1
            shutil.copyfile(tmp_path / "keep", index / "vectors-1.faiss")
        assert refused > 10

    assert in_child(act) == 0


def commit_without_end(writer: IndexWriter, folder: Path) -> None:
    for number in itertools.count():
        writer.commit(Batch(photos=(make_photo(folder / f"new-{number}.jpg", 40),)))


def test_a_full_disk_is_an_error_and_the_index_stays_as_it_was(index: Path, tmp_path: Path) -> None:
    before = everything(index)
    size = max(path.stat().st_size for path in index.iterdir())

    def act() -> None:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        with open_writer(index) as writer:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size + 5000, limit))
            with pytest.raises(StoreError, match=r"no space left|cannot be read or written"):
                commit_without_end(writer, tmp_path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    assert in_child(act) == 0
    assert problems(index) == []
    assert everything(index)[: len(before)] == before
    with open_writer(index) as writer:
        writer.commit(Batch(photos=(make_photo(tmp_path / "zz.jpg", 40),)))
    assert problems(index) == []


@pytest.mark.parametrize("number", [np.nan, np.inf, -2e38])
@pytest.mark.parametrize("part", ["boxes", "landmarks"])
def test_a_place_that_is_no_number_is_damage_that_check_names_and_a_repair_mends(
    tmp_path: Path, part: str, number: float
) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    places = getattr(photo.detections, part).copy()
    places[1].flat[2] = number
    write(
        tmp_path / ".facecli",
        [replace(photo, detections=replace(photo.detections, **{part: places})), make_photo(tmp_path / "b.jpg")],
    )
    assert [found for found in problems(tmp_path / ".facecli") if "face:2" in found and "a.jpg" in found]
    with open_reader(tmp_path / ".facecli") as reader:
        with pytest.raises(IndexDamaged, match="did not write") as caught:
            reader.face(2)
        assert f"facecli check --repair -i {tmp_path / '.facecli'} " in caught.value.hint
        if part == "boxes":
            with pytest.raises(IndexDamaged, match="did not write"):
                reader.nearest(photo.embeddings[1:2], top=1, minimum=None, by=By.FACE)
    repair_index(tmp_path / ".facecli")
    assert problems(tmp_path / ".facecli") == []
    assert all(face_id != 2 for face_id, _ in answer(tmp_path / ".facecli"))
