"""Limits select photos and faces; what has no date or place is counted; captures are kept with their photos."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from synthetic import KIND, make_photo, photo_id, unit, write

from facecli.captures import Capture
from facecli.config import By
from facecli.limits import PhotoLimits, Place, read_limits
from facecli.store.reader import open_reader
from facecli.store.records import Batch, Scope
from facecli.store.writer import open_writer
from facecli.types import IndexedPhoto, PhotoFile

PLACES = {"a/1": (48.2, 16.37), "a/2": (48.21, 16.38), "b/1": (-33.9, 18.4), "b/2": None, "c/[1]": None}
YEARS = {"a/1": "2001", "a/2": "2005", "b/1": "2010", "b/2": None, "c/[1]": "2005-07-14T12:00"}


def taken(folder: Path, name: str) -> IndexedPhoto:
    year, place = YEARS[name], PLACES[name]
    when = read_limits(after=year).after_ms if year else None
    return replace(make_photo(folder / name, 2), capture=Capture(when, None, *(place or (None, None)), "Maker", "X"))


@pytest.fixture
def index(tmp_path: Path) -> Path:
    write(tmp_path / ".facecli", [taken(tmp_path, name) for name in YEARS])
    return tmp_path / ".facecli"


def found(index: Path, limits: PhotoLimits) -> list[str]:
    with open_reader(index) as reader:
        names = [str(Path(photo.file.path).relative_to(index.parent)) for photo in reader.photos_within(limits)]
        faces = {face for name in names for face in _faces(reader, index.parent / name)}
        selected = reader.select(limits)
        assert set(selected.face_ids.tolist()) == faces
        assert sorted(selected.face_ids.tolist()) == selected.face_ids.tolist()
    return names


def _faces(reader, path: Path) -> list[int]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    return [face.face_id for face in reader.faces_of(photo_id(reader, path))]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, list(YEARS)),
        ({"after": "2005"}, ["a/2", "b/1", "c/[1]"]),
        ({"before": "2005"}, ["a/1"]),
        ({"after": "2005-07-14", "before": "2005-07-15"}, ["c/[1]"]),
        ({"near": "48.2,16.37"}, ["a/1", "a/2"]),
        ({"near": "48.2,16.37,0.5"}, ["a/1"]),
        ({"near": "-33.9,18.4,1"}, ["b/1"]),
        ({"near": "48.2,16.37", "after": "2004"}, ["a/2"]),
    ],
)
def test_limits_of_time_and_place(index: Path, limits: dict[str, str], expected: list[str]) -> None:
    assert found(index, read_limits(**limits)) == expected  # type: ignore[arg-type]


def test_limits_of_paths(index: Path) -> None:
    top = str(index.parent)
    assert found(index, PhotoLimits((f"{top}/a",))) == ["a/1", "a/2"]
    assert found(index, PhotoLimits((f"{top}/a/2", f"{top}/b"))) == ["a/2", "b/1", "b/2"]
    assert found(index, PhotoLimits((f"{top}/*/1",))) == ["a/1", "b/1"]
    assert found(index, PhotoLimits((f"{top}/nowhere",))) == []
    assert found(index, PhotoLimits(("/",))) == list(YEARS)


def test_what_is_left_out_is_counted_within_the_other_limits(index: Path) -> None:
    with open_reader(index) as reader:
        late = reader.select(read_limits(after="2003"))
        assert (late.undated, late.unplaced) == (1, 0)
        both = reader.select(PhotoLimits((f"{index.parent}/c",), near=Place(48.2, 16.37)))
        assert (both.undated, both.unplaced) == (0, 1)


def test_a_search_counts_what_is_left(index: Path) -> None:
    """-k is of the faces that the limits allow, however near the others are."""
    query = unit(make_photo(index.parent / "b/1", 2).embeddings[:1])
    with open_reader(index) as reader:
        among = reader.select(read_limits(before="2006")).slots
        (matches,) = reader.nearest(query, top=4, minimum=None, by=By.FACE, scope=Scope((), among))
        assert {Path(match.path).name for match in matches} <= {"1", "2", "[1]"}
        assert len(matches) == 4
        assert {(match.taken_at or "")[:4] for match in matches} <= {"2001", "2005"}


def test_a_capture_stays_with_its_photo(index: Path) -> None:
    top = index.parent
    with open_writer(index) as writer:
        first = photo_id(writer, top / "a/1")
        writer.commit(Batch(moves=((first, PhotoFile(str(top / "a/3"), 5, 6)),)))
        copy = writer.load(first, PhotoFile(str(top / "copy"), 7, 8))
        writer.commit(Batch(photos=(copy, replace(make_photo(top / "b/1", 1, seed="new"), capture=Capture(5)))))
    with open_reader(index) as reader:
        captures = {Path(photo.file.path).name: photo.capture for photo in reader.photos()}
        assert captures["3"] == captures["copy"] == taken(top, "a/1").capture
        assert reader.photo(photo_id(reader, top / "b/1")).capture == Capture(5)  # type: ignore[union-attr]
        assert list(reader.check()) == []


def test_known_photos_are_looked_at_once(tmp_path: Path) -> None:
    index = tmp_path / ".facecli"
    with open_writer(index, KIND, create=True) as writer:
        writer.commit(Batch(photos=tuple(make_photo(tmp_path / name) for name in "xyz")))
        assert [Path(file.path).name for _, file in writer.unlooked()] == ["x", "y", "z"]
        writer.note_captures([(1, Capture(7)), (2, Capture())])
        writer.note_captures([(1, Capture(9))])
        assert [(number, Path(file.path).name) for number, file in writer.unlooked()] == [(3, "z")]
        assert [photo.capture for photo in writer.photos()] == [Capture(7), Capture(), None]


FORGED = (
    "taken_ms = 1 << 62",
    "latitude = 91, longitude = 5",
    "latitude = 9e999, longitude = 1",
    "offset_minutes = 5000",
)


@pytest.mark.parametrize("forged", FORGED)
def test_a_capture_that_cannot_be_true_is_none(index: Path, forged: str) -> None:
    with closing(sqlite3.connect(index / "catalog.db", isolation_level=None)) as base:
        base.execute(f"UPDATE photos SET {forged}")
    with open_reader(index) as reader:
        for photo in reader.photos():
            assert photo.capture is not None
            assert photo.capture.latitude is None or abs(photo.capture.latitude) <= 90
            assert photo.capture.offset_minutes is None
        query = unit(make_photo(index.parent / "b/1", 2).embeddings[:1])
        assert len(reader.nearest(query, top=0, minimum=None, by=By.FACE)[0]) == 10
        reader.select(read_limits(near="48.2,16.37", after="1900"))
