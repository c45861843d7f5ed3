"""Removed data is erased from every byte of the index, and stays removed until it is allowed again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from evidence import pieces_of, traces
from msgspec.structs import replace
from synthetic import KIND, OTHER_KIND, at_path, ids_of, make_photo, make_photos, photo_id, write

from facecli.errors import QueryError, StoreError
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.write import erasure
from facecli.store.writer import open_writer
from facecli.types import PhotoFile, Skipped, SkipReason


def names(count: int, *, start: int = 0) -> list[str]:
    """Names of at least eight bytes that no other name contains."""
    return [f"holiday/{i % 17:02}/{i:05}-secret-face.jpg" for i in range(start, start + count)]


def test_the_search_for_traces_sees_what_is_there(tmp_path: Path) -> None:
    photos = [make_photo(tmp_path / name, 2) for name in names(40)]
    write(tmp_path / ".facecli", photos)
    assert len(traces(tmp_path / ".facecli", pieces_of(photos[:2]))) >= 2 * (1 + 2 * 8 * 2)


@pytest.mark.parametrize("small", [0, 1 << 40], ids=["searched", "rewritten"])
def test_thousands_of_removals_leave_nothing(tmp_path: Path, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(erasure, "SMALL", small)
    index, chance = tmp_path / ".facecli", np.random.default_rng(4)
    photos = {name: make_photo(tmp_path / name, int(chance.integers(0, 4))) for name in names(3000)}
    write(index, list(photos.values())[:2500])
    waiting = list(photos.values())[2500:]
    kept, gone = dict(list(photos.items())[:2500]), []
    for number in range(6):
        leaving = [str(name) for name in chance.choice(sorted(kept), 400, replace=False)]
        with open_writer(index) as writer:
            assert writer.remove(writer.plan_removal([str(tmp_path / name) for name in leaving]))
            writer.commit(Batch(photos=tuple(waiting[number * 80 : number * 80 + 80])))
        gone += [kept.pop(name) for name in leaving]
        assert traces(index, pieces_of(gone)) == []
    with open_reader(index) as reader:
        assert reader.info.photos == 2500 - 2400 + 480
        assert not reader.info.pending


def test_pruned_and_changed_photos_are_erased_at_the_end_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasure, "SMALL", 0)
    index = tmp_path / ".facecli"
    photos = [make_photo(tmp_path / name, 2) for name in names(600)]
    write(index, photos)
    with open_writer(index) as writer:
        writer.prune([photo_id(writer, photo.file.path) for photo in photos[100:300]])
        changed = tuple(at_path(make_photo(f"new-{i}"), photos[i].file.path) for i in range(100))
        writer.commit(Batch(photos=changed))
        assert writer.info.pending
        assert writer.finish().erased
    assert traces(index, pieces_of(photos[100:300])) == []
    embeddings = [piece for piece in pieces_of(photos[:100]) if not piece.endswith(b".jpg")]
    assert traces(index, embeddings) == []


def test_copies_go_too_and_are_told(tmp_path: Path) -> None:
    photo, other = make_photos(tmp_path, 2)
    write(tmp_path / ".facecli", [photo, at_path(photo, tmp_path / "b" / "copy.jpg"), other])
    with open_writer(tmp_path / ".facecli") as writer:
        removal = writer.plan_removal([photo.file.path])
        assert [p.file.path for p in removal.photos] == [photo.file.path]
        assert [p.file.path for p in removal.copies] == [str(tmp_path / "b" / "copy.jpg")]
        writer.remove(removal)
        assert [p.file.path for p in writer.photos()] == [other.file.path]
    assert traces(tmp_path / ".facecli", [*pieces_of([photo]), b"copy.jpg"]) == []


def test_a_directory_goes_with_all_below_it_its_skips_and_its_root(tmp_path: Path) -> None:
    photos = [
        make_photo(tmp_path / name) for name in ("family-album/x1.jpg", "family-album/y/x2.jpg", "family-album2/z.jpg")
    ]
    skip = Skipped(PhotoFile(str(tmp_path / "family-album" / "broken-file.jpg"), 1, 2), SkipReason.TRUNCATED, "cut")
    write(tmp_path / ".facecli", photos)
    with open_writer(tmp_path / ".facecli") as writer:
        writer.commit(Batch(skips=(skip,)))
        writer.set_roots(
            [str(tmp_path / "family-album"), str(tmp_path / "family-album2")],
            {str(tmp_path / "family-album" / "usb-stick"): 7},
        )
        writer.remove(writer.plan_removal([str(tmp_path / "family-album")]))
        assert [p.file.path for p in writer.photos()] == [photos[2].file.path]
        assert (writer.roots(), writer.mounts(), list(writer.skips())) == ((str(tmp_path / "family-album2"),), {}, [])
    assert traces(tmp_path / ".facecli", [b"family-album/", b"broken-file.jpg", b"usb-stick"]) == []


def test_an_unknown_path_removes_nothing(tmp_path: Path) -> None:
    write(tmp_path / ".facecli", make_photos(tmp_path, 2))
    with open_reader(tmp_path / ".facecli") as reader:
        with pytest.raises(StoreError, match="not in the index"):
            reader.plan_removal([str(tmp_path / "0000.jpg"), str(tmp_path / "none.jpg")])
        with pytest.raises(QueryError, match="no such face"):
            reader.plan_removal([str(tmp_path / "0000.jpg")], [1, 99])


def test_removed_photos_stay_out_also_under_another_name(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    write(tmp_path / ".facecli", [photo])
    with open_writer(tmp_path / ".facecli") as writer:
        writer.remove(writer.plan_removal([photo.file.path]))
        assert writer.kept_out(photo.digest).photo
        assert not writer.kept_out(bytes(16))
        committed = writer.commit(Batch(photos=(at_path(photo, tmp_path / "b.jpg"), make_photo(tmp_path / "c.jpg"))))
        assert (committed.photos_kept_out, committed.faces_added, writer.info.photos) == (1, 3, 1)
        assert writer.let_back([photo.digest], []) == 1
        assert writer.let_back([photo.digest], []) == 0
        writer.commit(Batch(photos=(photo,)))
        assert writer.info.photos == 2


def test_a_photo_whose_path_takes_a_kept_out_content_goes(tmp_path: Path) -> None:
    photo, other = make_photos(tmp_path, 2)
    write(tmp_path / ".facecli", [photo, other])
    with open_writer(tmp_path / ".facecli") as writer:
        writer.remove(writer.plan_removal([photo.file.path]))
        committed = writer.commit(Batch(photos=(at_path(photo, other.file.path),)))
        assert (committed.faces_removed, committed.photos_kept_out, writer.info.photos) == (3, 1, 0)


def test_a_removed_face_stays_out_of_every_copy(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    copy = at_path(photo, tmp_path / "b.jpg")
    write(tmp_path / ".facecli", [photo, copy])
    with open_writer(tmp_path / ".facecli") as writer:
        removal = writer.plan_removal([], [2])
        assert [(face.face_id, face.path) for face in removal.faces] == [(2, photo.file.path), (5, copy.file.path)]
        writer.remove(removal)
        assert ids_of(writer, photo.file.path) == [1, 3]
        assert ids_of(writer, copy.file.path) == [4, 6]
        nearly = replace(photo, detections=replace(photo.detections, boxes=photo.detections.boxes + np.float32(4)))
        committed = writer.commit(Batch(photos=(nearly, at_path(photo, tmp_path / "c.jpg"))))
        assert committed.faces_kept_out == 2
        assert len(ids_of(writer, tmp_path / "c.jpg")) == 2
    codes = photo.embeddings[1].astype("<f2").tobytes()
    assert traces(tmp_path / ".facecli", [codes[i : i + 16] for i in range(0, len(codes), 16)]) == []


@pytest.mark.parametrize("way", ["digest", "face"])
def test_a_face_that_is_let_back_has_its_photo_embedded_again(tmp_path: Path, way: str) -> None:
    photo = make_photo(tmp_path / "a.jpg")
    write(tmp_path / ".facecli", [photo])
    with open_writer(tmp_path / ".facecli") as writer:
        writer.remove(writer.plan_removal([], [2]))
        assert writer.let_back(*(([photo.digest], []) if way == "digest" else ([], [2]))) == 1
        known = writer.at(photo.file.path)
        assert known is not None
        assert (known.again, known.file.size, known.digest) == (True, -1, b"")
        assert writer.with_digest(photo.digest) == []
        writer.commit(Batch(photos=(photo,)))
        assert ids_of(writer, photo.file.path) == [1, 3, 4]
        known = writer.at(photo.file.path)
        assert known is not None
        assert (known.again, known.file) == (False, photo.file)


def test_a_reader_holds_the_proof_up_and_the_next_writer_finishes_it(tmp_path: Path) -> None:
    index = tmp_path / ".facecli"
    photos = [make_photo(tmp_path / name, 2) for name in names(50)]
    write(index, photos)
    with open_reader(index) as reader:
        assert reader.info.photos == 50
        with open_writer(index) as writer:
            assert not writer.remove(writer.plan_removal([photos[3].file.path]), wait_readers=0.1)
            assert writer.info.pending
    with open_writer(index) as writer:
        assert not writer.info.pending
    assert traces(index, pieces_of(photos[3:4])) == []


def test_a_removal_reaches_both_sets_of_a_migration(tmp_path: Path) -> None:
    index = tmp_path / ".facecli"
    photos = [make_photo(tmp_path / name, 3) for name in names(3)]
    anew = [at_path(make_photo(f"anew-{i}"), photo.file.path) for i, photo in enumerate(photos)]
    anew = [replace(new, digest=old.digest, detections=old.detections) for new, old in zip(anew, photos, strict=True)]
    write(index, photos, KIND)
    with open_writer(index) as writer:
        writer.begin_migration(OTHER_KIND)
        writer.commit(Batch(photos=tuple(anew)))
    with open_writer(index) as writer:
        writer.remove(writer.plan_removal([photos[0].file.path], [5]))
        writer.begin_migration(OTHER_KIND)
        assert [len(ids_of(writer, photo.file.path)) for photo in photos[1:]] == [2, 3]
        assert writer.at(photos[0].file.path) is None
    hidden = [*pieces_of([photos[0]]), *pieces_of([at_path(anew[0], photos[0].file.path)])]
    hidden += [piece for photo in (photos[1], anew[1]) for piece in [photo.embeddings[1].astype("<f2").tobytes()[:16]]]
    assert traces(index, hidden) == []
