"""Merged indexes are the index of one run, bit by bit; what cannot be merged is refused before anything is changed."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace
from synthetic import OTHER_KIND, at_path, contents, make_photo, make_photos, photo_id, unit, write

from facecli.errors import FacecliError, IndexDamaged, IndexMismatch, IndexMissing, StoreError, UsageError
from facecli.merging import MergeReport, MergeRequest, merge_indexes
from facecli.store.catalog.rows import FaceRow
from facecli.store.merging import order
from facecli.store.new_index import removed_if_unfilled
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.writer import open_writer
from facecli.types import IndexedPhoto, PhotoFile, Skipped, SkipReason


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks and pages so small that every merge has several."""
    monkeypatch.setattr(order, "CHUNK_PHOTOS", 5)
    monkeypatch.setattr(order, "CHUNK_FACES", 9)
    monkeypatch.setattr(order, "_IN_MEMORY", 8)
    monkeypatch.setattr(order, "_LEAST_PAGE", 2)


def merge(target: Path, *shards: Path, **options: bool) -> MergeReport:
    return merge_indexes(MergeRequest(str(target), tuple(map(str, shards)), **options))


def state_of(index: Path) -> tuple[object, ...]:
    """All that an index holds, with ids, slots, checksums and the vector file, but for random numbers."""
    with closing(sqlite3.connect(f"file:{index / 'catalog.db'}?mode=ro", uri=True)) as base:
        base.text_factory = bytes
        tables = ("photos", "faces", "embeddings", "skips", "roots", "holes")
        rows = [sorted(base.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in tables]
        counts = base.execute("SELECT slots, photos, faces FROM sets").fetchall()
    vectors = next(index.glob("vectors-*")).read_bytes()
    return (*rows, counts, vectors[81:])


def ask_sound(index: Path) -> None:
    with open_reader(index) as reader:
        assert list(map(str, reader.check())) == []


def some_photos(folder: Path) -> list[IndexedPhoto]:
    """Photos of none to three faces, some of them copies, and a file whose name is not text."""
    photos = [make_photo(folder / f"{i:02}.jpg", i % 4) for i in range(23)]
    photos += [at_path(photos[7], folder / "copy" / f"{i}.jpg") for i in range(3)]
    photos.append(make_photo(os.fsdecode(bytes(folder) + b"/\xff.jpg"), 2))
    photos = [replace(p, file=replace(p.file, ctime_ns=i, inode=i + 1)) for i, p in enumerate(photos)]
    return sorted(photos, key=lambda photo: os.fsencode(photo.file.path))


def put(index: Path, photos: Sequence[IndexedPhoto]) -> Path:
    write(index, photos)
    return index


def deal(tmp_path: Path, photos: Sequence[IndexedPhoto], count: int = 3) -> list[Path]:
    """Indexes with a part of the photos each."""
    return [put(tmp_path / f"part{n}", photos[n::count]) for n in range(count)]


@pytest.mark.parametrize("place", ["", "elsewhere"], ids=["photos beside the index", "photos elsewhere"])
def test_merged_parts_are_the_index_of_one_run(tmp_path: Path, place: str) -> None:
    photos = some_photos(tmp_path / place if place else Path("/elsewhere"))
    parts = deal(tmp_path, photos)
    put(tmp_path / "one", photos)
    for number, some in enumerate(itertools.permutations(parts)):
        report = merge(tmp_path / f"all{number}", *some)
        assert (report.photos.new, report.photos.seen, report.photos.total) == (27, 27, 27)
        assert state_of(tmp_path / f"all{number}") == state_of(tmp_path / "one")
        ask_sound(tmp_path / f"all{number}")


def test_a_second_merge_changes_nothing(tmp_path: Path) -> None:
    parts = deal(tmp_path, some_photos(tmp_path))
    merge(tmp_path / "all", *parts)
    before, files = state_of(tmp_path / "all"), (tmp_path / "all/catalog.db").read_bytes()
    report = merge(tmp_path / "all", *reversed(parts), parts[1])
    assert (report.photos.unchanged, report.photos.new, report.faces.added) == (27, 0, 0)
    assert state_of(tmp_path / "all") == before
    assert (tmp_path / "all/catalog.db").read_bytes() == files


def test_a_merge_that_is_stopped_goes_on(tmp_path: Path) -> None:
    photos = some_photos(tmp_path)
    parts = deal(tmp_path, photos)
    request = MergeRequest(str(tmp_path / "all"), tuple(map(str, parts)))
    assert merge_indexes(request, None, lambda: 15).interrupted_by == 15
    with open_reader(tmp_path / "all") as reader:
        assert 0 < reader.info.photos < 27
    assert merge_indexes(request).photos.new < 27
    put(tmp_path / "one", photos)
    assert state_of(tmp_path / "all") == state_of(tmp_path / "one")


def test_the_index_that_takes_in_keeps_its_ids(tmp_path: Path) -> None:
    photos = some_photos(tmp_path)
    target = put(tmp_path / "all", photos[10:])
    with open_reader(target) as reader:
        before = contents(reader)
    merge(target, put(tmp_path / "part", photos[:15]))
    with open_reader(target) as reader:
        assert [row for row in contents(reader) if row in before] == before
        assert reader.info.photos == 27
    ask_sound(target)


def test_a_dry_run_tells_and_changes_nothing(tmp_path: Path) -> None:
    photos = some_photos(tmp_path)
    target, part = put(tmp_path / "all", photos[10:]), put(tmp_path / "part", photos[:15])
    before = state_of(target)
    report = merge(target, part, dry_run=True)
    assert (report.photos.new, report.photos.unchanged, report.photos.total) == (10, 5, 17)
    assert state_of(target) == before
    assert merge(tmp_path / "none", part, dry_run=True).photos.new == 15
    assert not (tmp_path / "none").exists()


# the same path and the same content


def changed(photo: IndexedPhoto, seed: str, later: int) -> IndexedPhoto:
    """Another content at the same path, of a file that was changed later by some nanoseconds."""
    other = make_photo(seed, 2)
    return replace(other, file=replace(photo.file, mtime_ns=photo.file.mtime_ns + later))


def test_of_one_path_the_file_counts_that_was_changed_last(tmp_path: Path) -> None:
    photos = some_photos(tmp_path)
    late = changed(photos[3], "late", 5)
    early = put(tmp_path / "a", [*photos[:3], changed(photos[3], "early", -5)])
    middle, last = put(tmp_path / "b", photos), put(tmp_path / "c", [late])
    put(tmp_path / "one", [*photos[:3], late, *photos[4:]])
    for number, some in enumerate(itertools.permutations([early, middle, last])):
        report = merge(tmp_path / f"all{number}", *some)
        assert report.photos.superseded == 5
        assert state_of(tmp_path / f"all{number}") == state_of(tmp_path / "one")


def test_a_later_file_replaces_the_one_in_the_index_and_an_earlier_one_does_not(tmp_path: Path) -> None:
    photos = some_photos(tmp_path)
    target = put(tmp_path / "all", photos)
    with open_reader(target) as reader:
        kept = photo_id(reader, photos[3].file.path)
    later = put(tmp_path / "later", [changed(photos[3], "later", 5), changed(photos[4], "earlier", -5)])
    for expected in (1, 0):
        report = merge(target, later)
        assert (report.photos.changed, report.photos.unchanged) == (expected, 2 - expected)
        with open_reader(target) as reader:
            assert reader.load(kept, photos[3].file).digest == make_photo("later").digest
            assert reader.load(photo_id(reader, photos[4].file.path), photos[4].file).digest == photos[4].digest
        ask_sound(target)


def test_of_files_changed_at_one_time_the_order_of_the_indexes_decides_not_that_of_the_call(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "x.jpg")
    one, other = put(tmp_path / "a", [photo]), put(tmp_path / "b", [changed(photo, "other", 0)])
    merge(tmp_path / "one", one, other)
    merge(tmp_path / "two", other, one)
    assert state_of(tmp_path / "one") == state_of(tmp_path / "two") == state_of(one)


def nearly(photo: IndexedPhoto, path: Path) -> IndexedPhoto:
    """A copy of a photo whose faces another device found: nearly the same numbers."""
    return replace(at_path(photo, path), embeddings=unit(photo.embeddings + 0.001))


def test_copies_get_the_faces_of_the_first(tmp_path: Path) -> None:
    photo = make_photo(tmp_path / "b.jpg", 3)
    copies = [nearly(photo, tmp_path / "a.jpg"), nearly(photo, tmp_path / "z.jpg")]
    parts = [put(tmp_path / "1", [photo, *make_photos(tmp_path / "many", 7)]), put(tmp_path / "2", copies)]
    merge(tmp_path / "all", *parts)
    with open_reader(tmp_path / "all") as reader:
        found = [reader.faces_of(photo_id(reader, tmp_path / f"{name}.jpg")) for name in "abz"]
        first = unit(photo.embeddings + 0.001).astype("<f2")
        for faces in found:
            assert [face.embedding.astype("<f2").tobytes() for face in faces] == [row.tobytes() for row in first]
    target = put(tmp_path / "known", [photo])
    merge(target, parts[1])
    with open_reader(target) as reader:
        (numbers,) = {
            b"".join(f.embedding.tobytes() for f in reader.faces_of(photo_id(reader, tmp_path / f"{name}.jpg")))
            for name in "abz"
        }
    assert numbers == photo.embeddings.astype("<f2").astype("f4").tobytes()


def test_a_photo_that_must_be_embedded_again_is_left_to_the_next_run(tmp_path: Path) -> None:
    photos = some_photos(tmp_path)
    part, other = put(tmp_path / "part", photos[:2]), put(tmp_path / "other", photos[1:3])
    with closing(sqlite3.connect(part / "catalog.db", isolation_level=None)) as base:
        base.execute("UPDATE photos SET again = 1")
    report = merge(tmp_path / "all", part, other)
    assert (report.photos.again, report.photos.new) == (1, 2)
    with open_reader(tmp_path / "all") as reader:
        assert [photo.file.path for photo in reader.photos()] == [photo.file.path for photo in photos[1:3]]


# what was removed


def test_what_the_index_keeps_out_stays_out(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 8, 3)
    target, part = put(tmp_path / "all", photos), put(tmp_path / "part", [*photos, at_path(photos[2], tmp_path / "c")])
    with open_writer(target) as writer:
        face = writer.faces_of(photo_id(writer, photos[5].file.path))[1]
        writer.remove(writer.plan_removal([photos[2].file.path], [face.face_id]))
        writer.prune([photo_id(writer, photos[5].file.path)])
    for _ in range(2):
        assert merge(target, part).photos.kept_out == 2
        with open_reader(target) as reader:
            kept = {photo.file.path: photo.faces for photo in reader.photos()}
        assert kept == {photo.file.path: 2 if photo is photos[5] else 3 for photo in photos if photo is not photos[2]}
        ask_sound(target)


def test_what_stands_where_a_removed_content_is_now_goes(tmp_path: Path) -> None:
    removed, stays = make_photo(tmp_path / "removed.jpg"), make_photo(tmp_path / "stays.jpg")
    target = put(tmp_path / "all", [removed, stays])
    with open_writer(target) as writer:
        writer.remove(writer.plan_removal([removed.file.path]))
    there = replace(removed, file=replace(stays.file, mtime_ns=stays.file.mtime_ns + 1))
    before = replace(removed, file=replace(stays.file, mtime_ns=stays.file.mtime_ns - 1))
    merge(target, put(tmp_path / "early", [before]))
    with open_reader(target) as reader:
        assert reader.info.photos == 1
    merge(target, put(tmp_path / "late", [there]))
    with open_reader(target) as reader:
        assert reader.info.photos == 0


def test_marks_of_removal_that_the_index_does_not_have_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 4)
    target = put(tmp_path / "all", photos)
    shutil.copytree(target, tmp_path / "copy")
    for index in (tmp_path / "copy", target):
        with open_writer(index) as writer:
            writer.remove(writer.plan_removal([photos[1].file.path]))
        if index != target:
            with pytest.raises(StoreError, match="the index has 1 removal, ") as caught:
                merge(target, index)
            assert f"facecli remove --forget-all -i {index} " in caught.value.hint
    assert merge(target, tmp_path / "copy").photos.unchanged == 3, "a copy whose marks the index has"
    with pytest.raises(StoreError, match="1 removal"):
        merge(tmp_path / "new", target)
    assert not (tmp_path / "new").exists()


# what is refused, and what is damaged


def other_kind(index: Path) -> None:
    write(index, make_photos(index.parent, 2), OTHER_KIND)


def migrating(index: Path) -> None:
    write(index, make_photos(index.parent, 2))
    with open_writer(index) as writer:
        writer.begin_migration(OTHER_KIND)


@pytest.mark.parametrize(
    ("make", "error"), [(other_kind, IndexMismatch), (migrating, StoreError), (lambda _: None, IndexMissing)]
)
def test_what_cannot_be_merged_is_refused_before_anything_is_changed(
    tmp_path: Path, make: Callable[[Path], None], error: type[FacecliError]
) -> None:
    part, bad = put(tmp_path / "part", make_photos(tmp_path, 9)), tmp_path / "bad"
    make(bad)
    for target in (tmp_path / "all", put(tmp_path / "there", make_photos(tmp_path / "there", 3))):
        before = state_of(target) if target.exists() else None
        with pytest.raises(error) as caught:
            merge(target, part, bad)
        assert str(bad) in f"{caught.value} {caught.value.hint}"
        assert any(f" -i {index} " in caught.value.hint for index in (bad, part)), "the command for one of them"
        assert (state_of(target) if target.exists() else None) == before


def test_a_migration_of_the_index_itself_is_refused(tmp_path: Path) -> None:
    migrating(tmp_path / "all")
    with pytest.raises(StoreError, match="migration"):
        merge(tmp_path / "all", put(tmp_path / "part", make_photos(tmp_path, 2)))


def test_an_index_is_not_merged_into_itself(tmp_path: Path) -> None:
    index = put(tmp_path / "all", make_photos(tmp_path, 2))
    (tmp_path / "link").symlink_to(index)
    for shard in (index, tmp_path / "link"):
        with pytest.raises(UsageError):
            merge(index, shard)
    with pytest.raises(UsageError):
        merge(index)


FORGED = {
    "a box": "UPDATE faces SET box = zeroblob(16) WHERE face_id = 4",
    "a box of no numbers": f"UPDATE faces SET box = x'{'0000c07f' * 4}' WHERE face_id = 4",
    "a short box": "UPDATE faces SET box = x'00' WHERE face_id = 4",
    "an embedding": "UPDATE embeddings SET embedding = zeroblob(128) WHERE face_id = 4",
    "an embedding that is missing": "DELETE FROM embeddings WHERE face_id = 4",
    "a score": "UPDATE faces SET score = 9e99 WHERE face_id = 4",
    "a pass": "UPDATE faces SET found_by = 77 WHERE face_id = 4",
    "an id": "UPDATE faces SET checksum = 5 WHERE face_id = 4",
    "a content": "UPDATE photos SET digest = zeroblob(16) WHERE photo_id = 2",
    "a path": "UPDATE photos SET path = x'2e2e2f78' WHERE photo_id = 2",
    "a size": "UPDATE photos SET size = 5 WHERE photo_id = 2",
    "a width": "UPDATE photos SET width = 5 WHERE photo_id = 2",
    "a skip": "INSERT INTO skips (path, size, mtime_ns, reason, detail, refused_by) VALUES (x'61', 1, 2, 'no', '', '')",
}


@pytest.mark.parametrize("what", FORGED)
def test_a_damaged_row_is_named_and_never_written(tmp_path: Path, what: str) -> None:
    """A new index stays only if it has got something before."""
    part = put(tmp_path / "part", make_photos(tmp_path, 9))
    with closing(sqlite3.connect(part / "catalog.db", isolation_level=None)) as base:
        base.execute(FORGED[what])
    with pytest.raises(IndexDamaged) as caught:
        merge(tmp_path / "all", part)
    assert str(part) in str(caught.value)
    assert f"facecli check --repair -i {part} " in caught.value.hint
    assert (tmp_path / "all").exists() == (what == "a skip"), "photos are merged before skipped files"
    if what == "a skip":
        ask_sound(tmp_path / "all")


@pytest.mark.parametrize("there", ["nothing", "an empty directory", "an empty index"])
def test_a_failed_merge_leaves_nothing_that_was_not_there(tmp_path: Path, there: str) -> None:
    part, target = put(tmp_path / "part", make_photos(tmp_path, 3)), tmp_path / "all"
    if there == "an empty directory":
        target.mkdir()
    elif there == "an empty index":
        put(target, [])
    before = sorted(path.name for path in target.iterdir()) if target.exists() else None
    with closing(sqlite3.connect(part / "catalog.db", isolation_level=None)) as base:
        base.execute(FORGED["an embedding"])
    with pytest.raises(IndexDamaged):
        merge(target, part)
    assert (sorted(path.name for path in target.iterdir()) if target.exists() else None) == before


@pytest.mark.parametrize("kilobytes", [20, 100])
def test_a_full_disk_leaves_nothing_of_a_new_index(tmp_path: Path, kilobytes: int) -> None:
    put(tmp_path / "part", make_photos(tmp_path, 3))
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({kilobytes << 10},) * 2)"
    code = f"import resource; from facecli.cli.main import main; {limit}; main(['merge', 'all', 'part'])"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(b"facecli: error: "), done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["part"]


def test_what_another_process_has_written_meanwhile_stays(tmp_path: Path) -> None:
    with ExitStack() as stack:

        def fail(index: Path, photos: int, *, stays_open: bool) -> None:
            with removed_if_unfilled(index):
                put(index, make_photos(index, photos))
                if stays_open:
                    stack.enter_context(open_writer(index))
                raise UsageError("no")

        with pytest.raises(UsageError):
            fail(tmp_path / "filled", 2, stays_open=False)
        with pytest.raises(UsageError):
            fail(tmp_path / "in use", 0, stays_open=True)
        ask_sound(tmp_path / "filled")
        ask_sound(tmp_path / "in use")


@pytest.mark.parametrize("forged", [b"\x00\x44" * 64, b"\x00\x7e" * 64, bytes(128)], ids=["long", "no numbers", "zero"])
def test_an_embedding_that_is_none_is_refused_even_with_its_checksum(tmp_path: Path, forged: bytes) -> None:
    part = put(tmp_path / "part", make_photos(tmp_path, 3))
    with closing(sqlite3.connect(part / "catalog.db", isolation_level=None)) as base:
        query = "SELECT box, score, found_by, landmarks, photo_id FROM faces WHERE face_id = 4"
        *values, photo = base.execute(query).fetchone()
        checksum = FaceRow(*values, forged).checksum(4, photo)
        base.execute("UPDATE faces SET checksum = ? WHERE face_id = 4", (checksum,))
        base.execute("UPDATE embeddings SET embedding = ? WHERE face_id = 4", (forged,))
    with pytest.raises(IndexDamaged):
        merge(tmp_path / "all", part)
    assert not (tmp_path / "all").exists()


def test_paths_that_do_not_ascend_are_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = put(tmp_path / "part", make_photos(tmp_path, 9))
    shuffled = random.Random(5)
    with open_reader(part) as reader:
        catalogue = reader
        rows = catalogue.rows
        monkeypatch.setattr(catalogue, "rows", lambda *a: shuffled.sample(found := rows(*a), len(found)))
        with pytest.raises(IndexDamaged):
            list(catalogue.whole_photos(9))


# what else an index knows


def skip(path: Path, mtime_ns: int = 5, detail: str = "cut") -> Skipped:
    return Skipped(PhotoFile(str(path), 7, mtime_ns, 1, 2), SkipReason.TRUNCATED, detail, known=True)


def test_skipped_files_are_united_but_where_there_is_a_photo(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 9)
    one, other = put(tmp_path / "1", photos[:4]), put(tmp_path / "2", photos[4:])
    late = skip(tmp_path / "both", 9, "late")
    with open_writer(one) as writer:
        here = [skip(tmp_path / f"s{i}") for i in range(7)]
        writer.commit(Batch(skips=(skip(tmp_path / "both"), skip(Path(photos[6].file.path)), *here)))
    with open_writer(other) as writer:
        writer.commit(Batch(skips=(late,)))
    merge(tmp_path / "all", one, other)
    merge(tmp_path / "again", other, one)
    for index in (tmp_path / "all", tmp_path / "again"):
        with open_reader(index) as reader:
            assert list(reader.skips()) == [late, *here]
    assert merge(tmp_path / "all", one, other).skipped == 0
    assert state_of(tmp_path / "all") == state_of(tmp_path / "again")


def test_roots_are_united_and_inner_ones_folded(tmp_path: Path) -> None:
    one, other = put(tmp_path / "1", make_photos(tmp_path, 2)), put(tmp_path / "2", make_photos(tmp_path / "p", 2))
    with open_writer(one) as writer:
        writer.set_roots(["/a/b", "/c"], {"/": 1, "/a": 2, "/c": None})
    with open_writer(other) as writer:
        writer.set_roots(["/a", "/d"], {"/": 1, "/a": 3})
    target = put(tmp_path / "all", [])
    with open_writer(target) as writer:
        writer.set_roots(["/e"], {"/e": 9})
    for some in ((one, other), (other, one)):
        merge(target, *some)
        with open_reader(target) as reader:
            assert reader.roots() == ("/a", "/c", "/d", "/e")
            assert reader.mounts() == {"/": 1, "/a": None, "/c": None, "/e": 9}, "no number on which two disagree"


def test_the_roots_of_another_users_index_are_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = put(tmp_path / "part", make_photos(tmp_path, 2))
    with open_writer(part) as writer:
        writer.set_roots(["/home/other"], {"/": 1})
    monkeypatch.setattr("facecli.merging.belongs_to_another", partial(Path.samefile, part))
    merge(tmp_path / "all", part)
    with open_reader(tmp_path / "all") as reader:
        assert (reader.roots(), reader.info.photos) == ((), 2)


def test_a_merged_index_is_no_part(tmp_path: Path) -> None:
    part = put(tmp_path / "part", make_photos(tmp_path, 2))
    target = put(tmp_path / "all", [])
    for index in (part, target):
        with open_writer(index) as writer:
            writer.set_part("1/2")
    merge(target, part)
    with open_reader(target) as reader:
        assert reader.info.part == ""
    with open_reader(part) as reader:
        assert reader.info.part == "1/2"


def test_shards_are_only_read(tmp_path: Path) -> None:
    part = put(tmp_path / "part", some_photos(tmp_path))
    before = {path.name: path.read_bytes() for path in part.iterdir()}
    part.chmod(0o500)
    try:
        merge(tmp_path / "all", part)
    finally:
        part.chmod(0o700)
    assert {name: (part / name).read_bytes() for name in before} == before


def test_patterns_to_exclude_are_taken_where_all_agree(tmp_path: Path) -> None:
    parts = [put(tmp_path / name, make_photos(tmp_path / name, 2)) for name in "ab"]
    for part, patterns in zip(parts, (["cache/", "*.tmp"], ["cache/", "*.tmp"]), strict=True):
        with open_writer(part) as writer:
            writer.keep_excludes(patterns)
    merge(tmp_path / "all", *parts)
    with open_writer(parts[1]) as writer:
        writer.keep_excludes(["other"])
    merge(tmp_path / "all", *parts)
    merge(tmp_path / "none", *parts)
    for index, expected in ((tmp_path / "all", ("cache/", "*.tmp")), (tmp_path / "none", ())):
        with open_reader(index) as reader:
            assert reader.excludes() == expected


def test_an_index_with_names_of_people_is_told(tmp_path: Path) -> None:
    part = put(tmp_path / "part", make_photos(tmp_path, 2))
    with closing(sqlite3.connect(part / "catalog.db", isolation_level=None)) as base:
        columns = "step, time_ns, kind, person_id, name, other"
        base.execute(f"INSERT INTO decisions ({columns}) VALUES (1, 1, 'name', 1, 'Ada', 0)")

    assert merge(tmp_path / "all", part).with_decisions == [str(part)]
