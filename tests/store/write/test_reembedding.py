"""Migration to a second set of embeddings: resumable, invisible to searches, and switched to in one transaction."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace
from synthetic import (
    DIMENSION,
    KIND,
    OTHER_KIND,
    at_path,
    ids_of,
    known_under,
    make_photo,
    make_photos,
    photo_id,
    write,
)

from facecli.config import By
from facecli.errors import StoreError
from facecli.store.reader import open_reader
from facecli.store.records import Batch, EmbeddingKind
from facecli.store.writer import open_writer
from facecli.types import IndexedPhoto

WIDER = EmbeddingKind(replace(OTHER_KIND.fingerprint, dimension=2 * DIMENSION), "free", "/models/wide")


@pytest.fixture
def photos(tmp_path: Path) -> list[IndexedPhoto]:
    return make_photos(tmp_path, 6)


@pytest.fixture
def index(tmp_path: Path, photos: list[IndexedPhoto]) -> Path:
    write(tmp_path / ".facecli", photos)
    return tmp_path / ".facecli"


def anew(photo: IndexedPhoto) -> IndexedPhoto:
    """The photo as embedded by another model."""
    other = make_photo(f"anew {Path(photo.file.path).name}", 2, dimension=2 * DIMENSION)
    return replace(other, file=photo.file, digest=photo.digest)


def test_the_old_set_answers_until_the_switch(index: Path, photos: list[IndexedPhoto]) -> None:
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        assert list(known_under(writer, "/")) == []
        assert [photo.file.path for photo in writer.unmigrated()] == [photo.file.path for photo in photos]
        writer.commit(Batch(photos=tuple(map(anew, photos[:4]))))
        assert [known.file.path for known in known_under(writer, "/")] == [photo.file.path for photo in photos[:4]]
    with open_reader(index) as reader:
        assert (reader.info.fingerprint, reader.info.migrating_to) == (KIND.fingerprint, WIDER)
        assert (reader.info.photos, reader.info.faces) == (6, 18)
        assert (
            reader.nearest(photos[5].embeddings[:1], top=1, minimum=None, by=By.FACE)[0][0].path == photos[5].file.path
        )
        assert list(reader.check()) == []


def test_it_goes_on_where_it_was_left_and_switches_when_all_are_there(index: Path, photos: list[IndexedPhoto]) -> None:
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        writer.commit(Batch(photos=tuple(map(anew, photos[:4]))))
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        assert [photo.file.path for photo in writer.unmigrated()] == [photo.file.path for photo in photos[4:]]
        with pytest.raises(StoreError, match="2 photos could not be reached") as caught:
            writer.finish_migration(drop_unreachable=False)
        assert "--drop-unreachable" in caught.value.hint
        writer.commit(Batch(photos=tuple(map(anew, photos[4:]))))
        assert writer.finish_migration(drop_unreachable=False) == 0
        assert writer.finish().erased
        assert ids_of(writer, photos[0].file.path) == [19, 20]
    with open_reader(index) as reader:
        assert (reader.info.fingerprint, reader.info.licence, reader.info.model_directory) == (
            WIDER.fingerprint,
            "free",
            "/models/wide",
        )
        assert (reader.info.photos, reader.info.faces, reader.info.migrating_to, reader.info.epoch) == (6, 12, None, 2)
        assert (
            reader.nearest(anew(photos[3]).embeddings[:1], top=1, minimum=None, by=By.FACE)[0][0].path
            == photos[3].file.path
        )
        assert list(reader.check()) == []
    assert [path.name for path in index.glob("vectors-*")] == ["vectors-2.faiss"]


def test_what_cannot_be_reached_is_dropped_only_by_name(index: Path, photos: list[IndexedPhoto]) -> None:
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        writer.commit(Batch(photos=tuple(map(anew, photos[1:]))))
        assert writer.finish_migration(drop_unreachable=True) == 1
        writer.finish()
        assert [photo.file.path for photo in writer.photos()] == [photo.file.path for photo in photos[1:]]
    assert b"0000.jpg" not in b"".join(path.read_bytes() for path in index.iterdir())


def test_another_kind_starts_over(index: Path, photos: list[IndexedPhoto]) -> None:
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        writer.commit(Batch(photos=tuple(map(anew, photos[:4]))))
    with open_writer(index) as writer:
        writer.begin_migration(OTHER_KIND)
        assert len(list(writer.unmigrated())) == 6
        assert writer.info.migrating_to == OTHER_KIND
        assert list(writer.check()) == []
    assert sorted(path.name for path in index.glob("vectors-*")) == ["vectors-1.faiss", "vectors-3.faiss"]


def test_the_kind_that_the_index_has_ends_a_migration(index: Path, photos: list[IndexedPhoto]) -> None:
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        writer.commit(Batch(photos=tuple(map(anew, photos[:4]))))
        writer.begin_migration(KIND)
        assert len(list(known_under(writer, "/"))) == 6
        assert list(writer.unmigrated()) == []
        assert writer.finish_migration(drop_unreachable=False) == 0
        assert writer.info.migrating_to is None


def test_an_ordinary_run_meanwhile_reaches_the_old_set_and_prunes_both(
    index: Path, tmp_path: Path, photos: list[IndexedPhoto]
) -> None:
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        writer.commit(Batch(photos=tuple(map(anew, photos))))
    with open_writer(index, KIND) as writer:
        writer.commit(
            Batch(photos=(make_photo(tmp_path / "new.jpg"), at_path(make_photo("changed"), photos[1].file.path)))
        )
        writer.prune([photo_id(writer, photos[2].file.path)])
        writer.finish()
    with open_writer(index) as writer:
        writer.begin_migration(WIDER)
        assert [Path(photo.file.path).name for photo in writer.unmigrated()] == ["new.jpg"]
        assert writer.at(photos[2].file.path) is None
        known = writer.at(photos[1].file.path)
        assert known is not None
        assert known.digest == photos[1].digest


def test_a_reader_of_the_old_state_goes_on_reading_it(index: Path, photos: list[IndexedPhoto]) -> None:
    with open_reader(index) as reader:
        with open_writer(index) as writer:
            writer.begin_migration(WIDER)
            writer.commit(Batch(photos=tuple(map(anew, photos))))
            writer.finish_migration(drop_unreachable=False)
            assert not writer.finish().erased
        assert (
            reader.nearest(photos[3].embeddings[:1], top=1, minimum=None, by=By.FACE)[0][0].path == photos[3].file.path
        )
