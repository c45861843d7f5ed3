"""The compact file: made from 150,000 faces on, never wrong, and found, passed over and made again where damaged."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
import pytest
from attacks import limited_memory
from evidence import pieces_of, traces
from synthetic import DIMENSION, contents, ids_of, make_photo, make_photos, photo_id, write

from facecli.config import By
from facecli.store import vector_writer
from facecli.store.reader import open_reader
from facecli.store.records import Batch, Scope
from facecli.store.search import faiss_scan, first_pass
from facecli.store.short_codes import encode
from facecli.store.writer import open_writer, repair_index

HEADER, CODE, FACES = 81, DIMENSION // 8 + 8, 27
ERROR = 0.3
"""More than the error of an estimate in few dimensions, for faces as similar as these tests look for."""


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small indexes have compact files too, and are searched with them."""
    monkeypatch.setattr(vector_writer, "COMPACT_FROM", 20)
    monkeypatch.setattr("facecli.store.search.backends.FAISS_FROM", 0)
    monkeypatch.setattr(first_pass, "MOST_SHARE", 1.0)
    monkeypatch.setattr(faiss_scan, "_TRIES", 1)


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """Eight photos with three faces each, one of them dropped, so that there are holes."""
    write(tmp_path / ".facecli", make_photos(tmp_path, 9))
    with open_writer(tmp_path / ".facecli") as writer:
        writer.prune([photo_id(writer, tmp_path / "0004.jpg")])
        writer.finish()
    return tmp_path / ".facecli"


def compact_of(index: Path) -> Path:
    (file,) = index.glob("compact-*.faiss")
    return file


def problems(index: Path) -> list[str]:
    with open_reader(index) as reader:
        return [str(problem) for problem in reader.check()]


def answer(index: Path, *, error: float | None = ERROR) -> tuple[list[tuple[int, float]], bool]:
    """The faces like one of the index, and whether a first pass was made."""
    query = make_photo("0002.jpg").embeddings[:1]
    with open_reader(index) as reader:
        (found,) = reader.nearest(query, top=0, minimum=0.6, by=By.FACE, scope=Scope(first_pass=error))
        return [(match.face_id, match.similarity) for match in found], reader.used_first_pass


def mend(index: Path) -> list[str]:
    with open_writer(index) as writer:
        writer.finish()
        return writer.mended


def test_the_codes_are_those_of_faiss() -> None:
    embeddings = np.concatenate([make_photo(str(i), 40, dimension=512).embeddings for i in range(5)]).astype("<f2")
    embeddings[7], embeddings[9, ::2] = 0, 0
    index = faiss.IndexRaBitQ(512, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, 512), np.float32))
    made, wanted = encode(embeddings), index.sa_encode(embeddings.astype(np.float32))
    np.testing.assert_array_equal(made[:, :64], wanted[:, :64])
    np.testing.assert_allclose(made[:, 64:].copy().view("<f4"), wanted[:, 64:].copy().view("<f4"), rtol=2e-6)
    assert not made[7].any()
    np.testing.assert_array_equal(np.concatenate([encode(embeddings[:33]), encode(embeddings[33:])]), made)


def test_it_is_made_when_there_are_enough_faces_and_grows_with_the_index(tmp_path: Path) -> None:
    index, photos = tmp_path / ".facecli", make_photos(tmp_path, 12)
    write(index, photos[:6])
    assert list(index.glob("compact-*")) == []
    for count in (9, 12):
        with open_writer(index) as writer:
            writer.commit(Batch(photos=tuple(photos[6 if count == 9 else 9 : count])))
            writer.finish()
        read = faiss.read_index(str(compact_of(index)))
        assert (read.ntotal, read.d) == (3 * count, CODE)
        assert compact_of(index).stat().st_mode & 0o777 == 0o600
        assert problems(index) == []


def test_it_may_lag_behind_during_a_run(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_writer, "LAG", 5)
    with open_writer(index) as writer:
        for number, grown in ((0, 0), (1, 6), (2, 6), (3, 12)):
            writer.commit(Batch(photos=(make_photo(f"/new-{number}.jpg"),)))
            assert faiss.read_index(str(compact_of(index))).ntotal == FACES + grown
            assert problems(index) == []


def test_a_removed_face_is_erased_in_it(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "0005.jpg")
    signs = pieces_of([photo])[-1]
    assert signs in compact_of(index).read_bytes()
    with open_writer(index) as writer:
        assert writer.remove(writer.plan_removal([photo.file.path]))
    assert traces(index, pieces_of([photo])) == []
    assert signs not in compact_of(index).read_bytes()
    assert problems(index) == []


def test_it_goes_with_its_epoch(index: Path, tmp_path: Path) -> None:
    with open_writer(index) as writer:
        writer.prune([photo_id(writer, tmp_path / f"{i:04}.jpg") for i in (0, 1)])
        assert writer.finish().rebuilt
    assert list(index.glob("compact-*")) == []
    with open_writer(index) as writer:
        writer.commit(Batch(photos=tuple(make_photo(f"/new-{i}.jpg") for i in range(3))))
        writer.finish()
    assert compact_of(index).name == "compact-2.faiss"
    assert problems(index) == []


def overwrite(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "emptied": lambda file: os.truncate(file, 0),
    "short": lambda file: os.truncate(file, HEADER + 10 * CODE),
    "cut in the header": lambda file: os.truncate(file, 50),
    "changed": lambda file: overwrite(file, HEADER + 20 * CODE + 3, b"changed!"),
    "an erased one brought back": lambda file: overwrite(file, HEADER + 12 * CODE, b"ghost"),
    "another epoch": lambda file: overwrite(file, 16, b"\7"),
    "vectors": lambda file: shutil.copyfile(file.with_name("vectors-1.faiss"), file) and None,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_searched_past_and_mended(index: Path, damage: str) -> None:
    file, answered = compact_of(index), answer(index)
    vectors, whole = file.with_name("vectors-1.faiss").read_bytes(), file.read_bytes()
    assert answered[1]
    DAMAGE[damage](file)
    assert [problem for problem in problems(index) if str(file) in problem] != []
    assert answer(index)[0] == answered[0]
    assert [line for line in repair_index(index) if "the compact file is rebuilt" in line] != []
    assert problems(index) == []
    assert (file.read_bytes(), file.with_name("vectors-1.faiss").read_bytes()) == (whole, vectors)
    assert (answer(index), repair_index(index)) == (answered, [])


@pytest.mark.parametrize("mended_by", ["check --repair", "index"])
def test_a_missing_one_is_no_damage_and_is_made(index: Path, mended_by: str) -> None:
    file, answered = compact_of(index), answer(index)
    whole = file.read_bytes()
    file.unlink()
    assert problems(index) == []
    assert answer(index) == (answered[0], False)
    if mended_by == "index":
        assert mend(index) == []
    else:
        assert [line for line in repair_index(index) if "the compact file is made" in line] != []
    assert file.read_bytes() == whole
    assert answer(index) == answered


def test_one_of_a_later_state_is_made_anew(index: Path) -> None:
    """As where an older copy of the catalogue was put back."""
    file = compact_of(index)
    whole = file.read_bytes()
    later = bytearray(whole + b"another face 16 " * 2)
    later[8:16], later[73:81] = (struct.pack("<q", number) for number in (FACES + 2, (FACES + 2) * CODE))
    file.write_bytes(later)
    assert mend(index) != []
    assert file.read_bytes() == whole


def test_what_a_killed_run_left_beyond_its_end_is_cleared(index: Path) -> None:
    file = compact_of(index)
    file.write_bytes(file.read_bytes() + b"tail of a batch" * 50)
    assert problems(index) == []
    mend(index)
    assert b"tail" not in file.read_bytes()


def test_no_byte_of_its_header_can_do_harm(index: Path) -> None:
    file, (answered, _) = compact_of(index), answer(index)
    whole = file.read_bytes()
    with limited_memory():
        for place in range(HEADER):
            for value in {0, 1, 0x7F, 0x80, 0xFF, whole[place] ^ 1, whole[place] ^ 0x55} - {whole[place]}:
                overwrite(file, place, bytes([value]))
                assert answer(index) == (answered, False), (place, value)
            assert [problem for problem in problems(index) if "compact file" in problem] != []
            overwrite(file, place, whole[place : place + 1])
        overwrite(file, 20, b"\xff\xff")
        assert mend(index) != []
    assert file.read_bytes() == whole


def test_it_can_be_cut_at_every_length(index: Path) -> None:
    file, (answered, _) = compact_of(index), answer(index)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        assert answer(index) == (answered, False), length
        if length % 50 == 0:
            assert [problem for problem in problems(index) if "compact file" in problem] != []
            assert mend(index) != []
            assert file.read_bytes() == whole


def test_no_count_claims_memory_or_is_believed(index: Path) -> None:
    file, (answered, _) = compact_of(index), answer(index)
    chance = np.random.default_rng(5)
    with limited_memory():
        for count in [0, -1, 1 << 40, 1 << 62, -(1 << 63), 26, 28, *chance.integers(0, 1 << 50, 30).tolist()]:
            for length in (count * CODE, FACES * CODE, (1 << 60) - 1):
                overwrite(file, 8, struct.pack("<q", count))
                overwrite(file, 73, struct.pack("<Q", length % (1 << 64)))
                assert answer(index)[0] == answered


@pytest.mark.parametrize("seed", range(3))
def test_forged_codes_hide_a_face_at_most_and_an_exact_search_finds_it(index: Path, seed: int) -> None:
    """Codes are only estimates: whatever they say, no wrong face is found, and no similarity is wrong."""
    file, (answered, _) = compact_of(index), answer(index)
    chance = np.random.default_rng(seed)
    for _ in range(40):
        overwrite(file, HEADER, chance.bytes(FACES * CODE))
        found, _ = answer(index)
        assert set(found) <= set(answered)
        assert answer(index, error=None) == (answered, False)
    assert problems(index) != []
    repair_index(index)
    assert answer(index) == (answered, True)


def test_a_cut_during_a_search_is_searched_past(index: Path) -> None:
    answered, _ = answer(index)
    query = make_photo("0002.jpg").embeddings[:1]
    with open_reader(index) as reader:
        for _ in range(2):
            (found,) = reader.nearest(query, top=0, minimum=0.6, by=By.FACE, scope=Scope(first_pass=ERROR))
            assert [(match.face_id, match.similarity) for match in found] == answered
            os.truncate(compact_of(index), 90)


def test_everything_else_stays_as_it_was(index: Path, tmp_path: Path) -> None:
    with open_reader(index) as reader:
        before, ids = contents(reader), ids_of(reader, tmp_path / "0002.jpg")
    compact_of(index).unlink()
    repair_index(index)
    with open_reader(index) as reader:
        assert (contents(reader), ids_of(reader, tmp_path / "0002.jpg")) == (before, ids)
