"""Batches: new, changed, moved, touched and skipped files, copies, and the ids that stay."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from synthetic import KIND, at_path, contents, ids_of, known_under, make_photo, make_photos, photo_id, unit, write

from facecli.errors import QueryError
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.writer import open_writer
from facecli.types import IndexedPhoto, PhotoFile, Skipped, SkipReason


@pytest.fixture
def index(tmp_path: Path) -> Path:
    return tmp_path / ".facecli"


def test_what_is_committed_is_read_back_to_the_bit_of_float16(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    write(index, [photo])
    with open_reader(index) as reader:
        stored = next(reader.photos())
        faces = reader.faces_of(stored.photo_id)
        loaded = reader.load(stored.photo_id, photo.file)
    assert (stored.file, stored.digest, stored.width, stored.height, stored.faces) == (
        photo.file,
        photo.digest,
        640,
        480,
        3,
    )
    for i, face in enumerate(faces):
        assert face.box == tuple(photo.detections.boxes[i].tolist())
        assert face.score == photo.detections.scores[i]
        np.testing.assert_array_equal(face.landmarks, photo.detections.landmarks[i])
        np.testing.assert_array_equal(face.embedding, photo.embeddings[i].astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(loaded.detections.boxes, photo.detections.boxes)
    assert loaded.embeddings.dtype == np.float32


def test_a_photo_without_a_face_is_kept(index: Path, tmp_path: Path) -> None:
    write(index, [make_photo(tmp_path / "a.jpg", 0)])
    with open_reader(index) as reader:
        assert [photo.faces for photo in reader.photos()] == [0]
        assert len(reader.load(1, PhotoFile("/x", 1, 1)).detections) == 0


def test_ids_are_never_used_again(index: Path, tmp_path: Path) -> None:
    write(index, make_photos(tmp_path, 3))
    with open_writer(index) as writer:
        writer.prune([photo_id(writer, tmp_path / "0002.jpg")])
        writer.finish()
    with open_writer(index) as writer:
        writer.commit(Batch(photos=(make_photo(tmp_path / "new.jpg"),)))
        assert photo_id(writer, tmp_path / "new.jpg") == 4
        assert ids_of(writer, tmp_path / "new.jpg") == [10, 11, 12]


def moved_a_little(photo: IndexedPhoto, *, seed: int) -> IndexedPhoto:
    """The same faces found again in a changed file: boxes a pixel off, embeddings at a cosine of 0.99 or more."""
    chance = np.random.default_rng(seed)
    boxes = photo.detections.boxes + chance.uniform(-1, 1, photo.detections.boxes.shape).astype(np.float32)
    noise = unit(chance.standard_normal(photo.embeddings.shape).astype(np.float32))
    return replace(
        photo,
        digest=b"other" * 3 + b"!",
        detections=replace(photo.detections, boxes=boxes),
        embeddings=unit(photo.embeddings + 0.1 * noise),
    )


def test_faces_that_are_the_same_keep_their_ids(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg", 4)
    write(index, [photo])
    changed = moved_a_little(photo, seed=1)
    order = np.array([2, 0, 3])
    changed = replace(changed, detections=changed.detections.select(order), embeddings=changed.embeddings[order])
    with open_writer(index) as writer:
        committed = writer.commit(Batch(photos=(changed,)))
        assert (committed.faces_added, committed.faces_removed) == (0, 1)
        faces = writer.faces_of(1)
        assert [face.face_id for face in faces] == [1, 3, 4]
        for face, i in zip(faces, (1, 0, 2), strict=True):
            np.testing.assert_array_equal(face.embedding, changed.embeddings[i].astype(np.float16).astype(np.float32))
        assert writer.info.photos == 1
        assert writer.info.holes == 4


def test_a_face_of_somebody_else_at_the_same_place_is_a_new_one(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg", 2)
    write(index, [photo])
    other = replace(photo, digest=bytes(16), embeddings=make_photo("other", 2).embeddings)
    with open_writer(index) as writer:
        committed = writer.commit(Batch(photos=(other,)))
        assert (committed.faces_added, committed.faces_removed) == (2, 2)
        assert ids_of(writer, tmp_path / "a.jpg") == [3, 4]


def test_embedding_again_with_the_same_result_takes_no_slot(index: Path, tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 5)
    write(index, photos)
    with open_reader(index) as reader:
        before = contents(reader)
    with open_writer(index) as writer:
        committed = writer.commit(Batch(photos=tuple(photos)))
        assert (committed.faces_added, committed.faces_removed) == (0, 0)
        assert (writer.info.slots, writer.info.holes) == (15, 0)
        assert contents(writer) == before


def test_a_move_keeps_the_faces(index: Path, tmp_path: Path) -> None:
    write(index, make_photos(tmp_path, 2))
    file = PhotoFile(str(tmp_path / "z" / "moved.jpg"), 5, 6)
    with open_writer(index) as writer:
        writer.commit(Batch(moves=((1, file),)))
        assert writer.at(str(tmp_path / "0000.jpg")) is None
        assert ids_of(writer, file.path) == [1, 2, 3]
        assert [known.file for known in known_under(writer, tmp_path / "z")] == [file]


def test_two_photos_can_change_places_in_one_batch(index: Path, tmp_path: Path) -> None:
    first, second = make_photos(tmp_path, 2)
    write(index, [first, second])
    with open_writer(index) as writer:
        writer.commit(Batch(moves=((1, second.file), (2, first.file))))
        assert ids_of(writer, second.file.path) == [1, 2, 3]
        assert ids_of(writer, first.file.path) == [4, 5, 6]


def test_a_move_onto_another_photo_replaces_it(index: Path, tmp_path: Path) -> None:
    first, second = make_photos(tmp_path, 2)
    write(index, [first, second])
    with open_writer(index) as writer:
        committed = writer.commit(Batch(moves=((1, second.file),)))
        assert committed.faces_removed == 3
        assert [(photo.photo_id, photo.file) for photo in writer.photos()] == [(1, second.file)]


def test_a_new_photo_can_take_the_path_of_one_that_moved_in_the_same_batch(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    write(index, [photo])
    with open_writer(index) as writer:
        new = make_photo(tmp_path / "a.jpg", seed="new")
        writer.commit(Batch(photos=(new,), moves=((1, replace(photo.file, path=str(tmp_path / "b.jpg"))),)))
        assert ids_of(writer, tmp_path / "a.jpg") == [4, 5, 6]
        assert ids_of(writer, tmp_path / "b.jpg") == [1, 2, 3]


def test_a_touch_changes_size_and_time_alone(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    write(index, [photo])
    with open_writer(index) as writer:
        file = replace(photo.file, mtime_ns=7)
        writer.commit(Batch(touches=((1, file),)))
        known = writer.at(file.path)
        assert known is not None
        assert (known.file, known.digest) == (file, photo.digest)
        assert ids_of(writer, file.path) == [1, 2, 3]


def skip(path: Path, reason: SkipReason = SkipReason.TRUNCATED) -> Skipped:
    return Skipped(PhotoFile(str(path), 3, 4), reason, "it ends early", "max-pixels=5")


def test_skips_that_last_are_recorded_and_go_when_the_file_can_be_read(index: Path, tmp_path: Path) -> None:
    write(index, [])
    with open_writer(index) as writer:
        writer.commit(
            Batch(
                skips=(
                    skip(tmp_path / "b.jpg"),
                    skip(tmp_path / "a.jpg"),
                    skip(tmp_path / "c.jpg", SkipReason.PERMISSION),
                )
            )
        )
        recorded = [replace(skip(tmp_path / name), known=True) for name in ("a.jpg", "b.jpg")]
        assert list(writer.skips()) == recorded
        assert writer.info.skipped == 2
        known = writer.at(str(tmp_path / "a.jpg"))
        assert known is not None
        assert (known.photo_id, known.skip) == (None, recorded[0])
        writer.commit(Batch(photos=(make_photo(tmp_path / "a.jpg"),)))
        assert list(writer.skips()) == recorded[1:]
        writer.prune([], [str(tmp_path / "b.jpg")])
        assert list(writer.skips()) == []


def test_a_photo_that_can_no_longer_be_read_keeps_its_faces(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    write(index, [photo])
    with open_writer(index) as writer:
        writer.commit(Batch(skips=(skip(tmp_path / "a.jpg"),)))
        (known,) = known_under(writer, tmp_path)
        assert (known.photo_id, known.file, known.digest) == (1, PhotoFile(photo.file.path, 3, 4), photo.digest)
        assert known.skip == replace(skip(tmp_path / "a.jpg"), known=True)
        assert writer.info.faces == 3


def test_copies_are_found_by_content(index: Path, tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "b.jpg")
    write(index, [photo, at_path(photo, tmp_path / "a.jpg"), make_photo(tmp_path / "c.jpg")])
    with open_reader(index) as reader:
        assert [known.file.path for known in reader.with_digest(photo.digest)] == [
            str(tmp_path / "a.jpg"),
            str(tmp_path / "b.jpg"),
        ]
        assert reader.with_digest(bytes(16)) == []


def test_a_reader_shows_one_state(index: Path, tmp_path: Path) -> None:
    write(index, make_photos(tmp_path, 1))
    with open_reader(index) as reader:
        with open_writer(index) as writer:
            writer.commit(Batch(photos=(make_photo(tmp_path / "new.jpg"),)))
        assert len(list(reader.photos())) == reader.info.photos == 1
    with open_reader(index) as reader:
        assert reader.info.photos == 2


def test_an_unknown_face_is_a_query_error(index: Path) -> None:
    write(index, [])
    with open_reader(index) as reader:
        for face_id in (1, -1, 1 << 70):
            with pytest.raises(QueryError, match="no such face"):
                reader.face(face_id)


def test_roots_are_replaced_as_a_whole(index: Path, tmp_path: Path) -> None:
    write(index, [])
    with open_writer(index) as writer:
        writer.set_roots([str(tmp_path), "/mnt/photos", str(tmp_path / "a")], {"/mnt/photos/usb": 7, "/": None})
        assert writer.roots() == tuple(sorted([str(tmp_path), "/mnt/photos", str(tmp_path / "a")]))
        assert writer.mounts() == {"/": None, "/mnt/photos/usb": 7}
        generation = writer.info.generation
        writer.set_roots([], {})
        assert (writer.roots(), writer.mounts()) == ((), {})
        assert writer.info.generation == generation


def test_under_ascends_by_the_bytes_of_the_paths_and_merges_skips(index: Path, tmp_path: Path) -> None:
    names = [
        "a.jpg",
        "a/b.jpg",
        "a-b.jpg",
        "a/b/c.jpg",
        "a0.jpg",
        "é.jpg",
        os.fsdecode(b"\xff.jpg"),
        "B.jpg",
        ".x.jpg",
        "zz\n.jpg",
    ]
    outside = ["/a.jpg", "/zzz/b.jpg", str(tmp_path) + "-beside/c.jpg", str(tmp_path) + "0/d.jpg"]
    photos = [make_photo(path, 1) for path in [*(f"{tmp_path}/{name}" for name in names), *outside]]
    skips = (skip(tmp_path / "a" / "a.jpg"), skip(Path("/zzz/a.jpg")), skip(tmp_path / "zzz.jpg"))
    write(index, photos)
    with open_writer(index) as writer:
        writer.commit(Batch(skips=skips))
    every = sorted([*(p.file.path for p in photos), *(s.file.path for s in skips)], key=os.fsencode)
    with open_reader(index) as reader:
        for root in (
            "/",
            str(tmp_path),
            str(tmp_path / "a"),
            str(tmp_path.parent),
            "/zzz",
            str(tmp_path / "a.jpg"),
            "/none",
        ):
            wanted = [path for path in every if path == root or path.startswith(root.rstrip("/") + "/")]
            assert [known.file.path for known in known_under(reader, root)] == wanted
        assert [photo.file.path for photo in reader.photos()] == sorted((p.file.path for p in photos), key=os.fsencode)


def test_paging_loses_nothing_and_goes_on_beside_commits(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("facecli.store.catalog.sets.PAGE", 3)
    write(index, make_photos(tmp_path, 10, 1))
    with open_writer(index) as writer:
        seen = []
        for number, known in enumerate(known_under(writer, tmp_path)):
            seen.append(Path(known.file.path).name)
            writer.commit(Batch(photos=(make_photo(tmp_path / f"0000-{number}.jpg"),)))
        assert seen == [f"{i:04}.jpg" for i in range(10)]


def test_an_index_moves_with_its_photos(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    outside = make_photo("/elsewhere/x.jpg")
    write(tmp_path / "home" / ".facecli", [make_photo(tmp_path / "home" / "a.jpg"), outside])
    (tmp_path / "home").rename(tmp_path / "away")
    with open_reader(tmp_path / "away" / ".facecli") as reader:
        assert [photo.file.path for photo in reader.photos()] == sorted(
            [str(tmp_path / "away" / "a.jpg"), outside.file.path]
        )


def test_paths_that_come_to_lie_beside_the_index_are_adopted(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "photos" / "a.jpg")
    (tmp_path / "elsewhere").mkdir()
    write(tmp_path / "elsewhere" / ".facecli", [photo])
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere" / ".facecli").rename(tmp_path / "photos" / ".facecli")
    with open_writer(tmp_path / "photos" / ".facecli") as writer:
        assert ids_of(writer, photo.file.path) == [1, 2, 3]
    (tmp_path / "photos").rename(tmp_path / "again")
    with open_reader(tmp_path / "again" / ".facecli") as reader:
        assert ids_of(reader, tmp_path / "again" / "a.jpg") == [1, 2, 3]


def test_another_kind_never_joins(index: Path) -> None:
    from synthetic import OTHER_KIND

    from facecli.errors import IndexMismatch

    write(index, [])
    with pytest.raises(IndexMismatch, match="buffalo_sc, not other") as caught:
        open_writer(index, OTHER_KIND)
    assert "--migrate" in caught.value.hint
    open_writer(index, KIND).close()
