"""When the writer commits, and what it makes of results from workers that do not know the index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from synthetic import KIND, at_path, make_photo, make_photos, photo_id

from facecli.indexing import batch_writer
from facecli.indexing.batch_writer import COMMIT_SECONDS, BatchWriter
from facecli.indexing.outcomes import FileTask, Fresh, Outcome
from facecli.pipeline.clock import StageClock
from facecli.store.records import Batch, Committed, KnownFile
from facecli.store.writer import IndexWriter, open_writer
from facecli.types import IndexedPhoto, IndexReport, Skipped, SkipReason


class Desk:
    """A writer, and the sizes of its commits."""

    def __init__(self, store: IndexWriter, batch_size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store, self.report, self.time, self.commits = store, IndexReport("", ""), 100.0, list[int]()
        self.writer = BatchWriter(store, self.report, StageClock(lambda: self.time), batch_size)
        commit = store.commit

        def counting(batch: Batch) -> Committed:
            self.commits.append(len(batch.photos) + len(batch.skips))
            return commit(batch)

        monkeypatch.setattr(store, "commit", counting)

    def take(self, photo: IndexedPhoto, known: KnownFile | None = None) -> None:
        self.writer.take(Fresh(photo, known), no_second_look)


def no_second_look(task: FileTask) -> Outcome:
    raise AssertionError(task.file.path)


@contextmanager
def desk_at(index: Path, batch_size: int | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    with open_writer(index, KIND, create=True) as store:
        yield Desk(store, batch_size, monkeypatch)


def test_a_commit_comes_after_2048_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk_at(tmp_path / "index", None, monkeypatch) as desk:
        for photo in make_photos(tmp_path, 2060, 0):
            desk.take(photo)
        assert desk.commits == [2048]
        desk.writer.commit()
        desk.writer.commit()
    assert desk.commits == [2048, 12]


def test_a_named_batch_size_bounds_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk_at(tmp_path / "index", 3, monkeypatch) as desk:
        for photo in make_photos(tmp_path, 7, 1):
            desk.take(photo)
    assert desk.commits == [3, 3]


def test_a_commit_comes_after_five_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with desk_at(tmp_path / "index", None, monkeypatch) as desk:
        photos = make_photos(tmp_path, 4, 1)
        desk.take(photos[0])
        desk.time += COMMIT_SECONDS - 1
        desk.take(photos[1])
        assert desk.commits == []
        desk.time += 1
        desk.writer.commit_if_due()
        desk.take(photos[2])
    assert desk.commits == [2]


def test_many_faces_are_committed_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_writer, "COMMIT_FACES", 10)
    with desk_at(tmp_path / "index", None, monkeypatch) as desk:
        for photo in make_photos(tmp_path, 8, 3):
            desk.take(photo)
        desk.take(make_photo(tmp_path / "z.jpg", 25))
    assert desk.commits == [4, 4, 1]


def test_a_known_content_is_a_copy_whoever_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that does not know the index reads it again; its faces are those that are known."""
    with desk_at(tmp_path / "index", 2, monkeypatch) as desk:
        first = make_photo(tmp_path / "a.jpg", 2)
        other = make_photo(tmp_path / "a.jpg", 2, seed="other")
        for name in ("b", "c", "d"):
            desk.take(at_path(first, tmp_path / f"{name}.jpg"))
        for name in ("e", "f"):  # other numbers of the same content, once from this batch, once from the index
            strange = at_path(first, tmp_path / f"{name}.jpg")
            desk.take(IndexedPhoto(strange.file, first.digest, 640, 480, other.detections, other.embeddings))
        desk.writer.commit()
        found = {f.embedding.tobytes() for p in desk.store.photos() for f in desk.store.faces_of(p.photo_id)}
        assert (len(found), desk.report.photos.new) == (2, 5)


def test_a_removed_content_stays_out_whoever_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, other = make_photo(tmp_path / "a.jpg"), make_photo(tmp_path / "b.jpg")
    with open_writer(tmp_path / "index", KIND, create=True) as store:
        store.commit(Batch(photos=(photo, other)))
        store.remove(store.plan_removal([photo.file.path]))
    with desk_at(tmp_path / "index", None, monkeypatch) as desk:
        known = desk.store.at(other.file.path)
        desk.take(at_path(photo, tmp_path / "c.jpg"))
        desk.take(at_path(photo, other.file.path), known)
        desk.writer.skip(Skipped(photo.file, SkipReason.TRUNCATED, ""))
        desk.writer.commit()
        assert (desk.report.kept_out, desk.report.photos.new, desk.store.info.photos) == (2, 0, 1)
        assert desk.writer.replaced == [photo_id(desk.store, other.file.path)]
