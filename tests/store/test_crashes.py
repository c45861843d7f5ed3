"""After a kill or a power loss at any disk operation, the index is sound at the next opening, and the work can go on.

Each scenario runs in a child process that is killed at the n-th disk operation, for every n. The remaining index must
pass `check` and answer a search; then the scenario runs again to its end, and must give the same result, bit by bit, as
an uninterrupted run.
"""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from attacks import run_in_child
from evidence import pieces_of, traces
from synthetic import DIMENSION, KIND, OTHER_KIND, at_path, contents, make_photo, make_photos, write

from facecli.config import By
from facecli.errors import IndexMissing
from facecli.store import vector_writer
from facecli.store.catalog import schema
from facecli.store.disk.durable import Step, no_step
from facecli.store.merging import order
from facecli.store.merging.merge import Merge
from facecli.store.reader import open_reader
from facecli.store.records import Batch
from facecli.store.write import erasure
from facecli.store.writer import IndexWriter, open_writer, repair_index
from facecli.types import IndexedPhoto, PhotoFile, Skipped, SkipReason

KILLED = 9


@pytest.fixture(scope="module", autouse=True)
def _small_process() -> None:
    """Give back what earlier tests have left in memory: each of a thousand forks copies the tables of all of it."""
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", int)(0)  # where the C library is glibc


@dataclass(frozen=True)
class Scenario:
    """A starting state and an action on it; `act` finds out how far an interrupted run came."""

    before: Callable[[Path], None]
    act: Callable[[Path, Step], None]


def photos_of(index: Path, count: int = 8) -> list[IndexedPhoto]:
    return make_photos(index.parent, count, 2)


def commit_missing(writer: IndexWriter, photos: list[IndexedPhoto], size: int = 4) -> None:
    """Do as an index run: commit all photos that are not in the index with this content, in batches."""
    for start in range(0, len(photos), size):
        known = {photo.file.path: writer.at(photo.file.path) for photo in photos[start : start + size]}
        new = [
            photo
            for photo in photos[start : start + size]
            if (k := known[photo.file.path]) is None or k.digest != photo.digest
        ]
        if new:
            writer.commit(Batch(photos=tuple(new)))


def create(index: Path, at: Step) -> None:
    with open_writer(index, KIND, create=True, at=at) as writer:
        commit_missing(writer, photos_of(index))
        writer.set_roots([str(index.parent)], {})
        writer.finish()


def change(index: Path, at: Step) -> None:
    """New, changed, moved and skipped photos, and others pruned."""
    old = photos_of(index)
    with open_writer(index, at=at) as writer:
        commit_missing(writer, [make_photo(index.parent / f"new-{i}.jpg", 2) for i in range(4)])
        commit_missing(writer, [at_path(make_photo("changed", 3), old[1].file.path)])
        if writer.at(old[2].file.path) is not None:
            moved = PhotoFile(str(index.parent / "moved.jpg"), 5, 6)
            broken = Skipped(PhotoFile(str(index.parent / "broken.jpg"), 1, 2), SkipReason.TRUNCATED, "cut")
            writer.commit(Batch(moves=((3, moved),), skips=(broken,)))
        writer.prune([known.photo_id for photo in old[6:7] if (known := writer.at(photo.file.path)) and known.photo_id])
        writer.finish()


def remove(index: Path, at: Step) -> None:
    """A photo with its copy, and a face."""
    photo = photos_of(index, 20)[3]
    with open_writer(index, at=at) as writer:
        paths = [photo.file.path] if writer.at(photo.file.path) else []
        faces = [1] if [face for face in writer.faces_of(1) if face.face_id == 1] else []
        if paths or faces:
            writer.remove(writer.plan_removal(paths, faces), wait_readers=0)
    hidden = [*pieces_of([photo]), b"copy.jpg", photos_of(index)[0].embeddings[0].astype("<f2").tobytes()[:16]]
    assert traces(index, hidden) == []


def rebuild(index: Path, at: Step) -> None:
    """Prune so many photos that the vector file is rebuilt."""
    with open_writer(index, at=at) as writer:
        writer.prune(
            [
                known.photo_id
                for photo in photos_of(index)[2:5]
                if (known := writer.at(photo.file.path)) and known.photo_id
            ]
        )
        writer.finish()


def migrate(index: Path, at: Step) -> None:
    """Embed all photos but one again with another model."""
    anew = [at_path(make_photo(f"anew-{i}", 2), photo.file.path) for i, photo in enumerate(photos_of(index))][:-1]
    with open_writer(index, at=at) as writer:
        writer.begin_migration(OTHER_KIND)
        commit_missing(writer, anew)
        writer.finish_migration(drop_unreachable=True)
        writer.finish()


def repair(index: Path, at: Step) -> None:
    repair_index(index, at=at)


def damage(index: Path) -> None:
    """Damage the vector file and the embedding of a face."""
    write(index, photos_of(index))
    with next(index.glob("vectors-*")).open("r+b") as file:
        file.seek(81 + 5 * 2 * DIMENSION)
        file.write(b"damage")
    with open_writer(index) as writer:
        writer._writing.connection.execute("UPDATE embeddings SET embedding = zeroblob(128) WHERE face_id IN (2, 6)")


def bring_up_to_date(index: Path, at: Step) -> None:
    with open_writer(index, at=at):
        pass


def with_parts(index: Path) -> None:
    """Two indexes beside this one, which has some of their photos."""
    photos, place = photos_of(index, 12), index.parent
    late = make_photo("late")
    for name, some in (("1", photos[::2]), ("2", [*photos[1::2], at_path(late, photos[0].file.path)])):
        shutil.rmtree(place / f"part{name}", ignore_errors=True)
        write(place / f"part{name}", some)
    write(index, [*photos[:3], at_path(photos[3], place / "a.jpg")])


def merge(index: Path, at: Step) -> None:
    """Take in the photos of two indexes, some of which are new, changed or there."""
    with ExitStack() as stack:
        parts = [stack.enter_context(open_reader(index.parent / f"part{n}")) for n in "12"]
        merging = Merge(stack.enter_context(writer := open_writer(index, at=at)), parts)
        for plan in merging.plans():
            merging.write(plan.photos, writer)
        writer.finish()


def with_copies(index: Path) -> None:
    photos = photos_of(index, 20)
    write(
        index, [*photos, at_path(photos[3], index.parent / "copy.jpg"), at_path(photos[0], index.parent / "twin.jpg")]
    )


def with_photos(index: Path) -> None:
    write(index, photos_of(index))


SCENARIOS = {
    "creation": Scenario(lambda _: None, create),
    "changes": Scenario(with_photos, change),
    "removal": Scenario(with_copies, remove),
    "rebuild": Scenario(with_photos, rebuild),
    "migration": Scenario(with_photos, migrate),
    "repair": Scenario(damage, repair),
    "merge": Scenario(with_parts, merge),
    "update": Scenario(with_photos, bring_up_to_date),
}


class Bomb:
    """Kills the process at the n-th step; `power` first undoes all writes that are not synced."""

    def __init__(self, index: Path, number: int, *, power: bool) -> None:
        self._index, self._left, self._power = index, number, power
        self._synced = self._vector_files()

    def _vector_files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self._index.glob("*.faiss*")}

    def __call__(self, step: str) -> None:
        if step.startswith("after fsync"):
            self._synced = self._vector_files()
        if step.startswith("after rename"):
            self._synced |= {
                path: self._synced[new]
                for new in list(self._synced)
                if (path := new.with_suffix("")).exists() and new.suffix == ".new"
            }
        self._left -= 1
        if self._left == 0:
            if self._power:
                for path in self._index.glob("*.faiss*"):
                    path.write_bytes(self._synced.get(path, b""))
            os._exit(KILLED)


def state_of(index: Path) -> tuple[object, ...]:
    """All data of an index, bit by bit, except the random numbers in it."""
    with open_reader(index) as reader:
        info = reader.info
        slots = reader.rows("SELECT face_id, slot FROM faces ORDER BY face_id")
        holes = reader.rows("SELECT * FROM holes ORDER BY slot")
        kept_out = reader.rows("SELECT face_id, box FROM kept_out ORDER BY box")
        assert reader._codes is not None
        told = (
            contents(reader),
            list(reader.skips()),
            reader.roots(),
            slots,
            holes,
            kept_out,
            reader._codes.block(0, len(reader._codes)).tobytes(),
            [file.read_bytes()[81:] for file in index.glob("compact-*")],
        )
    return (
        *told,
        info.epoch,
        info.generation,
        info.pending,
        info.fingerprint,
        info.photos,
        info.faces,
        sorted(p.name for p in index.iterdir() if "faiss" in p.name),
    )


def ask_sound(index: Path) -> None:
    """Fail unless the index is sound and a search gives the same answer as the catalogue alone."""
    with open_reader(index) as reader:
        assert list(map(str, reader.check())) == []
        query = np.ones((1, DIMENSION), np.float32) / np.float32(8)
        (matches,) = reader.nearest(query, top=0, minimum=None, by=By.FACE)
        assert len(matches) == reader.info.faces
        reader._codes = reader._scan = None
        assert reader.nearest(query, top=0, minimum=None, by=By.FACE) == [matches]


@pytest.mark.parametrize("power", [False, True], ids=["killed", "power lost"])
@pytest.mark.parametrize("name", SCENARIOS)
def test_every_step(
    name: str, *, power: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario, index = SCENARIOS[name], tmp_path / ".facecli"
    monkeypatch.setattr(order, "CHUNK_PHOTOS", 4)
    monkeypatch.setattr(erasure, "SMALL", 0 if name == "changes" else erasure.SMALL)
    monkeypatch.setattr(vector_writer, "COMPACT_FROM", 0)
    monkeypatch.setattr(vector_writer, "LAG", 8)
    scenario.before(index)
    keep = tmp_path / "before"
    if index.exists():
        shutil.copytree(index, keep)
    if name == "update":
        monkeypatch.setattr(
            schema, "MIGRATIONS", (*schema.MIGRATIONS, "CREATE TABLE extra (x INTEGER) STRICT;", "DROP TABLE extra;")
        )
        for module in ("maintenance.prepare", "catalog.connection"):
            monkeypatch.setattr(f"facecli.store.{module}.MIGRATIONS", schema.MIGRATIONS)
    scenario.act(index, no_step)
    wanted, points = state_of(index), 0
    while True:
        shutil.rmtree(index)
        if keep.exists():
            shutil.copytree(keep, index)
        code = run_in_child(partial(scenario.act, index, Bomb(index, points + 1, power=power)))
        if code == 0:
            break
        assert code == KILLED
        points += 1
        if name == "update":
            bring_up_to_date(index, no_step)
        if name != "repair":
            try:
                ask_sound(index)
            except IndexMissing:
                assert name == "creation"
        scenario.act(index, no_step)
        ask_sound(index)
        assert state_of(index) == wanted, f"after a crash at step {points}"
    with capsys.disabled():
        sys.stdout.write(f"\n{name}: {points} points ")
    assert points > 5


def test_the_bomb_goes_off_where_it_should(tmp_path: Path) -> None:
    """The test harness: unsynced codes are lost after a power loss, and kept after a kill."""
    index = tmp_path / ".facecli"
    write(index, photos_of(index))
    size = next(index.glob("vectors-*")).stat().st_size
    steps: list[str] = []
    new = Batch(photos=(make_photo(tmp_path / "new.jpg"),))
    with open_writer(index, at=steps.append) as writer:
        first = len(steps)
        writer.commit(new)
    number = steps.index("after write codes", first) + 1
    assert next(index.glob("vectors-*")).stat().st_size == size + 3 * 2 * DIMENSION
    for power, grown in ((True, 0), (False, 3 * 2 * DIMENSION)):
        shutil.rmtree(index)
        write(index, photos_of(index))

        def act(*, power: bool) -> None:
            with open_writer(index, at=Bomb(index, number, power=power)) as writer:
                writer.commit(new)

        assert run_in_child(partial(act, power=power)) == KILLED
        assert next(index.glob("vectors-*")).stat().st_size == size + grown
