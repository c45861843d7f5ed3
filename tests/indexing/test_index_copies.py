"""Many copies of one photo: all are indexed at the cost of one file each, and moves are still recognised."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from facecli.config import IndexOptions
from facecli.indexing import batch_writer
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.store.reader import open_reader
from facecli.store.records import Batch, Committed
from facecli.store.writer import IndexWriter
from facecli.types import IndexReport

COPIES = 200


@pytest.fixture
def folder(tmp_path: Path, find_sample: Callable[[str], Path]) -> Path:
    """A photo of one small face, and two hundred copies of it."""
    folder = tmp_path / "album"
    folder.mkdir()
    with Image.open(find_sample("t1.jpg")) as group:
        group.crop((5, 215, 215, 445)).save(folder / "first.png")
    for number in range(COPIES):
        shutil.copyfile(folder / "first.png", folder / f"{number:03}.png")
    return folder


def run(folder: Path, **options: object) -> IndexReport:
    return index_photos(IndexRequest(str(folder.parent / ".facecli"), (str(folder),), None, IndexOptions(**options)))  # type: ignore[arg-type]


def faces(folder: Path) -> dict[str, list[int]]:
    """The face ids of each photo by the name of its file."""
    with open_reader(folder.parent / ".facecli") as store:
        return {
            os.path.basename(photo.file.path): [face.face_id for face in store.faces_of(photo.photo_id)]
            for photo in store.photos()
        }


@pytest.mark.parametrize("batch_size", ["1", "3", "64"])
def test_a_forced_run_over_copies_ends_with_all_of_them(folder: Path, batch_size: str) -> None:
    run(folder)
    before = faces(folder)
    command = [
        sys.executable,
        "-m",
        "facecli",
        "index",
        "-q",
        "--force",
        "-j",
        "4",
        "--batch-size",
        batch_size,
        str(folder),
    ]
    for _ in range(2):
        subprocess.run(command, cwd=folder.parent, check=True, timeout=120)
    assert len(before) == COPIES + 1
    assert faces(folder) == before


@pytest.fixture
def effort(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts of commits, of checks for missing files, and of lookups of all photos of a content in a run."""
    counts = {"commits": 0, "looks": 0, "lists": 0}
    commit, is_gone, with_digest = IndexWriter.commit, batch_writer.is_gone, IndexWriter.with_digest

    def committing(self: IndexWriter, batch: Batch) -> Committed:
        counts["commits"] += 1
        return commit(self, batch)

    def looking(path: str) -> bool:
        counts["looks"] += 1
        return is_gone(path)

    def listing(self: IndexWriter, digest: bytes) -> object:
        counts["lists"] += 1
        return with_digest(self, digest)

    monkeypatch.setattr(IndexWriter, "commit", committing)
    monkeypatch.setattr(batch_writer, "is_gone", looking)
    monkeypatch.setattr(IndexWriter, "with_digest", listing)
    return counts


def test_a_copy_costs_the_same_whether_it_is_the_tenth_or_the_thousandth(folder: Path, effort: dict[str, int]) -> None:
    for copy in folder.glob("[0-9]*"):
        copy.rename(folder.parent / copy.name)
    run(folder)
    for number in range(COPIES):
        (folder.parent / f"{number:03}.png").rename(folder / f"{number:03}.png")
    effort |= dict.fromkeys(effort, 0)
    report = run(folder, batch_size=64)
    assert (report.photos.new, report.photos.total) == (COPIES, COPIES + 1)
    assert effort["commits"] <= COPIES / 64 + 2
    assert effort["looks"] == 1, "only the photo that was known before can have moved"
    assert effort["lists"] == 1
    assert {len(ids) for ids in faces(folder).values()} == {1}


def test_a_folder_of_copies_that_was_renamed_keeps_its_faces_in_order(folder: Path, effort: dict[str, int]) -> None:
    run(folder)
    before = faces(folder)
    effort |= dict.fromkeys(effort, 0)
    (folder / "first.png").unlink()
    for number in range(COPIES - 1):
        (folder / f"{number:03}.png").rename(folder / f"new-{number:03}.png")
    for number in range(5):
        shutil.copyfile(folder / "new-000.png", folder / f"other-{number}.png")
    report = run(folder, batch_size=8)
    counts = report.photos
    # Of 201 photos 200 are gone: all 204 new names take over their faces, the first of them in the order of the paths.
    assert (counts.moved, counts.new, counts.removed, counts.unchanged, counts.total) == (200, 4, 0, 1, 205)
    after = faces(folder)
    assert {name: after[f"new-{name}"] for name in before if f"new-{name}" in after} == {
        n: i for n, i in before.items() if f"new-{n}" in after
    }
    assert after["other-0.png"] == before["first.png"]
    assert {len(ids) for ids in after.values()} == {1}
    assert effort["looks"] <= COPIES + 1
    assert effort["lists"] == 1


def test_a_file_that_takes_a_name_of_its_own_content_and_one_that_changes_places_end_right(folder: Path) -> None:
    """A copy whose only stored twin is replaced in the same batch gets the twin's faces or is processed again."""
    run(folder)
    for copy in folder.glob("[0-9]*"):
        copy.unlink()
    run(folder, prune=True)
    content = (folder / "first.png").read_bytes()
    with Image.open(folder / "first.png") as picture:
        picture.point(lambda v: v // 2).save(folder / "first.png")
    for name in ("a.png", "z.png"):
        (folder / name).write_bytes(content)
    report = run(folder, jobs=1, batch_size=64)
    assert (report.photos.changed, report.photos.new, report.photos.total) == (1, 2, 3)
    assert {name: len(ids) for name, ids in faces(folder).items()} == {"a.png": 1, "first.png": 1, "z.png": 1}
