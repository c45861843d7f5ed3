"""Queries on several devices (here sessions on the CPU) find the same faces in the same order."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from misbehaving import PHOTOS, Behaviour, begins_after, lost_after, quick_and_slow, slow, small, together
from notes import Notes

from facecli.cli.group import facecli
from facecli.config import IndexOptions, ReadOptions, SearchOptions
from facecli.errors import DeviceError
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.output.tsv import TsvWriter
from facecli.photos.budget import PixelBudget
from facecli.searching import reading
from facecli.searching.opening import MANY_PHOTOS, ModelSource
from facecli.searching.query_parser import PhotoQuery
from facecli.searching.reading import QueryPhoto, Read, ReadingOptions, read_photos
from facecli.searching.search import search_index
from facecli.store.reader import open_reader
from facecli.vision.packs.resolve import find_pack

Behave = Callable[[dict[str, Behaviour]], dict[str, int]]
OF_RUNS = ("worker-",)


def threads_of_runs() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(OF_RUNS)]


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each device needs a thread that brings it photos, and there is one for a processor."""
    monkeypatch.setattr(reading, "count_processors", lambda: 2)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert threads_of_runs() == []


def begin(crowd: Path, device: str, notes: Notes | None = None, photos: int = PHOTOS) -> Iterator[Read]:
    queries = [PhotoQuery(path.name, str(path)) for path in sorted(crowd.iterdir())[:photos]]
    return read_photos(
        ModelSource(find_pack(None), device, None, notes or Notes()), queries, ReadingOptions(ReadOptions(), crops=True)
    )


def read(crowd: Path, device: str, notes: Notes | None = None, photos: int = PHOTOS) -> list[QueryPhoto]:
    done = list(begin(crowd, device, notes, photos))
    assert all(isinstance(photo, QueryPhoto) for photo in done)
    return [photo for photo in done if isinstance(photo, QueryPhoto)]


def bits(photos: Sequence[QueryPhoto]) -> list[tuple[object, ...]]:
    """All exact data of the photos and their faces, without the embeddings."""
    return [
        (
            photo.query,
            [(face.number, face.box, face.score) for face in photo.faces],
            photo.crops.tobytes() if photo.crops is not None else b"",
        )
        for photo in photos
    ]


def embeddings(photos: Sequence[QueryPhoto]) -> np.ndarray:
    return np.stack([face.embedding for photo in photos for face in photo.faces])


@pytest.fixture(scope="module")
def expected(crowd: Path, shared_cache: Path) -> list[QueryPhoto]:
    """The faces found by the CPU alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        found = read(crowd, "cpu")
    assert sum(len(photo.faces) for photo in found) == 2 * PHOTOS
    return found


def same(found: Sequence[QueryPhoto], expected: Sequence[QueryPhoto]) -> bool:
    """Whether the photos and faces are the same, and the embeddings but for the last bits, which batches change."""
    return (
        [photo.query for photo in found] == [photo.query for photo in expected]
        and all(
            np.allclose(mine.box, theirs.box, rtol=0, atol=0.01) and abs(mine.score - theirs.score) < 1e-4
            for one, other in zip(found, expected, strict=True)
            for mine, theirs in zip(one.faces, other.faces, strict=True)
        )
        and float((embeddings(found) * embeddings(expected)).sum(axis=1).min()) > 0.9999
    )


def test_several_devices_find_what_one_finds_in_order_and_the_slow_one_does_less(
    crowd: Path, expected: list[QueryPhoto], behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GROUP", 2)
    used = behave(quick_and_slow(20))
    assert same(read(crowd, "test:0,1"), expected)
    assert used["test:0"] > used["test:1"] > 0


def test_a_device_that_is_lost_costs_a_line_and_nothing_else(
    crowd: Path, expected: list[QueryPhoto], behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GROUP", 2)
    lost = threading.Event()
    behave({"test:0": begins_after(lost), "test:1": lost_after(5, lost)})
    notes = Notes()
    assert same(read(crowd, "test:0,1", notes), expected)
    assert notes.warnings == ["test:1 failed and is left out; its photos are done by the others: fell off the bus"]


def test_a_device_with_little_memory_takes_less_at_once(
    crowd: Path, expected: list[QueryPhoto], behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GROUP", 2)
    behave(together(small, small))
    notes = Notes()
    assert same(read(crowd, "test:0,1", notes), expected)
    assert sorted(notes.warnings) == [
        f"test:{number} has not the memory for a batch of 2; going on with smaller ones" for number in (0, 1)
    ], "one line for each device"


def test_photos_are_worked_on_in_groups(crowd: Path, expected: list[QueryPhoto], behave: Behave) -> None:
    sizes: set[int] = set()
    behave({"test:0": lambda feed, _: sizes.add(len(feed)) if feed.shape[1] == 640 else None})
    assert same(read(crowd, "test:0"), expected)
    assert max(sizes) == reading.GROUP
    assert all(size.bit_count() == 1 for size in sizes), "few sizes, the powers of two"


def test_a_group_is_no_larger_than_the_memory(
    crowd: Path, expected: list[QueryPhoto], behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    largest: list[int] = []
    behave({"test:0": lambda feed, _: largest.append(len(feed)) if feed.shape[1] == 640 else None})
    three_photos = 3 * 630 * 230 * 3
    monkeypatch.setattr(reading, "default_budget", lambda: PixelBudget(three_photos * 2 * 4 // 3))
    assert same(read(crowd, "test:0"), expected)
    assert max(largest) <= 8, "as many of the smallest photos as three of the largest need"


def test_when_the_last_device_is_lost_the_command_fails_after_what_was_found(
    crowd: Path,
    expected: list[QueryPhoto],
    behave: Behave,
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "GROUP", 2)
    behave({"test:0": lost_after(9), "test:1": lost_after(20)})
    with pytest.raises(DeviceError, match=r"the device failed \(fell off the bus\): test:[01]") as caught:
        facecli.main(
            ["faces", "-d", "test:0,1", *map(str, sorted(crowd.iterdir()))], prog_name="facecli", standalone_mode=False
        )
    assert caught.value.exit_code == 2
    assert caught.value.hint.startswith("--device"), "nothing is kept from which another run could go on"
    sys.stdout.flush()
    names = [Path(line.rpartition(b"\t")[2].decode()).name for line in capsysbinary.readouterr().out.splitlines()]
    assert names == [photo.query for photo in expected for _ in photo.faces][: len(names)]


@pytest.mark.parametrize("leave", [KeyboardInterrupt, RuntimeError])
def test_whoever_leaves_early_leaves_no_thread_behind(
    crowd: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch, leave: type[BaseException]
) -> None:
    used = behave({"test:0": slow, "test:1": slow})
    monkeypatch.setattr(reading, "GROUP", 1)

    def write_one_row(*_: object, **__: object) -> None:
        assert {name.partition("-")[0] for name in threads_of_runs()} == {"worker"}
        raise leave

    monkeypatch.setattr(TsvWriter, "write", write_one_row)
    # Whatever holds the exception holds its frames, so that nothing is closed by being forgotten.
    with pytest.raises((leave, click.Abort)) as caught:
        facecli.main(
            ["faces", "-d", "test:0,1", *map(str, sorted(crowd.iterdir()))], prog_name="facecli", standalone_mode=False
        )
    assert threads_of_runs() == []
    assert 0 < sum(used.values()) < 3 * PHOTOS, "what had not begun is not done"
    del caught


def test_few_photos_take_the_first_device(crowd: Path, expected: list[QueryPhoto], behave: Behave) -> None:
    used = behave({})
    assert same(read(crowd, "test:0,1", photos=MANY_PHOTOS - 1), expected[: MANY_PHOTOS - 1])
    assert set(used) == {"test:0"}


def test_the_processor_named_twice_is_one(crowd: Path, expected: list[QueryPhoto]) -> None:
    found = read(crowd, "cpu:0,1")
    assert bits(found) == bits(expected)
    assert embeddings(found).tobytes() == embeddings(expected).tobytes()


def test_no_photo_opens_no_model(crowd: Path) -> None:
    assert list(begin(crowd, "no-such-device", photos=0)) == []


def test_a_search_with_many_queries_answers_as_on_one_device(
    crowd: Path, tmp_path: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GROUP", 2)
    index_photos(IndexRequest(str(tmp_path / "index"), (str(crowd),), None, IndexOptions(device="cpu")))
    used = behave(together())
    queries = [str(path) for path in sorted(crowd.iterdir())]
    with open_reader(tmp_path / "index") as reader:
        one, two = (
            search_index(reader, [*queries, "face:1", str(tmp_path)], SearchOptions(device=name))
            for name in ("cpu", "test:0,1")
        )
    for one_result, other in zip(one.results, two.results, strict=True):
        assert one_result.query.query == other.query.query
        nearest, again = ({m.face_id: m.similarity for m in r.matches} for r in (one_result, other))
        assert nearest == pytest.approx(again, abs=1e-4)
    assert [str(f) for f in two.failures] == [str(f) for f in one.failures]
    assert len(two.failures) == 1
    assert set(used) == {"cpu", "test:0", "test:1"}
