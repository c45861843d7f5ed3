"""Queries on several devices (here sessions on the CPU) find the same faces in the same order."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import numpy as np
import pytest
from misbehaving import PHOTOS, Behaviour, lost_after, slow, small
from notes import Notes

from facecli.cli.group import facecli
from facecli.config import IndexOptions, ReadOptions, SearchOptions
from facecli.errors import DeviceError
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.output.tsv import TsvWriter
from facecli.photos.budget import PixelBudget
from facecli.pipeline.cores import BYTES_OF_A_WORKER
from facecli.searching import reading
from facecli.searching.opening import MANY_PHOTOS, ModelSource
from facecli.searching.query_parser import PhotoQuery
from facecli.searching.reading import QueryPhoto, Read, ReadingOptions, read_photos
from facecli.searching.search import search_index
from facecli.store.reader import open_reader
from facecli.system import count_processors
from facecli.vision.packs.resolve import find_pack
from facecli.vision.serving import pooled
from facecli.vision.serving.pooling import Batching

Behave = Callable[[dict[str, Behaviour]], dict[str, int]]
OF_RUNS = ("device-", "worker-", "warming-")


def threads_of_runs() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(OF_RUNS)]


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


def test_several_devices_find_what_one_finds_to_the_bit_and_in_order(
    crowd: Path, expected: list[QueryPhoto], behave: Behave
) -> None:
    used = behave({"cpu:1": slow})
    found = read(crowd, "cpu:0,1")
    assert bits(found) == bits(expected)
    assert embeddings(found).tobytes() == embeddings(expected).tobytes()
    assert used["cpu:0"] > used["cpu:1"] > 0, "both work, and the slow one less"


def test_a_device_that_is_lost_costs_a_line_and_nothing_else(
    crowd: Path, expected: list[QueryPhoto], behave: Behave
) -> None:
    behave({"cpu:1": lost_after(5)})
    notes = Notes()
    found = read(crowd, "cpu:0,1", notes)
    assert bits(found) == bits(expected)
    assert embeddings(found).tobytes() == embeddings(expected).tobytes()
    assert notes.warnings == ["cpu:1 failed and is left out; its batch is done by the other: fell off the bus"]


def test_a_device_with_little_memory_takes_less_at_once(
    crowd: Path, expected: list[QueryPhoto], behave: Behave
) -> None:
    behave({"cpu:0": small, "cpu:1": small})
    notes = Notes()
    found = read(crowd, "cpu:0,1", notes)
    assert bits(found) == bits(expected)
    assert np.allclose(embeddings(found), embeddings(expected), rtol=0, atol=1e-5)
    assert set(notes.warnings) == {
        f"cpu:{n} has not the memory for a batch of that size; going on with 1 at once" for n in (0, 1)
    }


def test_batches_are_gathered_over_the_photos(
    crowd: Path, expected: list[QueryPhoto], behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings as on a GPU: few sizes, shared by the threads, two threads per device, warmed up in the background."""
    sizes: set[int] = set()
    behave({"cpu:0": lambda feed, _: sizes.add(len(feed))})
    monkeypatch.setattr(pooled, "batching_for", lambda _device, _size: Batching(8, (1, 2, 4, 8), threads=2))
    found = read(crowd, "cpu:0,1")
    assert bits(found) == bits(expected)
    assert np.allclose(embeddings(found), embeddings(expected), rtol=0, atol=1e-5)
    assert max(sizes) > 2
    assert sizes <= {1, 2, 4, 8}


def test_so_many_photos_are_in_memory_as_the_budget_allows(
    crowd: Path, expected: list[QueryPhoto], behave: Behave, monkeypatch: pytest.MonkeyPatch
) -> None:
    most: list[int] = []
    behave({"cpu:0": lambda _, __: most.append(sum(name.startswith("worker-") for name in threads_of_runs()))})
    monkeypatch.setattr(reading, "default_budget", lambda: PixelBudget(3 * BYTES_OF_A_WORKER))
    assert bits(read(crowd, "cpu:0,1")) == bits(expected)
    assert max(most) == min(PHOTOS, count_processors() + 3)


def test_when_the_last_device_is_lost_the_command_fails_after_what_was_found(
    crowd: Path, expected: list[QueryPhoto], behave: Behave, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    behave({"cpu:0": lost_after(9), "cpu:1": lost_after(20)})
    with pytest.raises(DeviceError, match=r"the device failed \(fell off the bus\): cpu:[01]") as caught:
        facecli.main(
            ["faces", "-d", "cpu:0,1", *map(str, sorted(crowd.iterdir()))], prog_name="facecli", standalone_mode=False
        )
    assert caught.value.exit_code == 2
    assert caught.value.hint.startswith("--device"), "nothing is kept from which another run could go on"
    sys.stdout.flush()
    names = [Path(line.rpartition(b"\t")[2].decode()).name for line in capsysbinary.readouterr().out.splitlines()]
    assert names == [photo.query for photo in expected for _ in photo.faces][: len(names)]


@pytest.mark.parametrize("leave", [KeyboardInterrupt, RuntimeError])
def test_whoever_leaves_early_leaves_no_device_behind(
    crowd: Path, behave: Behave, monkeypatch: pytest.MonkeyPatch, leave: type[BaseException]
) -> None:
    used = behave({"cpu:0": slow, "cpu:1": slow})
    monkeypatch.setattr(reading, "count_workers", lambda *_: 2)

    def write_one_row(*_: object, **__: object) -> None:
        assert {name.partition("-")[0] for name in threads_of_runs()} == {"device", "worker"}
        raise leave

    monkeypatch.setattr(TsvWriter, "write", write_one_row)
    # Whatever holds the exception holds its frames, so that nothing is closed by being forgotten.
    with pytest.raises((leave, click.Abort)) as caught:
        facecli.main(
            ["faces", "-d", "cpu:0,1", *map(str, sorted(crowd.iterdir()))], prog_name="facecli", standalone_mode=False
        )
    assert threads_of_runs() == []
    assert 0 < sum(used.values()) < 3 * PHOTOS, "what had not begun is not done"
    del caught


def test_few_photos_take_the_first_device_without_a_queue(
    crowd: Path, expected: list[QueryPhoto], behave: Behave
) -> None:
    used = behave({})
    photos = begin(crowd, "cpu:0,1", photos=MANY_PHOTOS - 1)
    first = next(photos)
    assert not [name for name in threads_of_runs() if not name.startswith("worker-")]
    found = [photo for photo in (first, *photos) if isinstance(photo, QueryPhoto)]
    assert bits(found) == bits(expected[: MANY_PHOTOS - 1])
    assert used == {}


def test_no_photo_opens_no_model(crowd: Path) -> None:
    assert list(begin(crowd, "no-such-device", photos=0)) == []


def test_a_single_query_loads_no_pool(find_sample: Callable[[str], Path]) -> None:
    photo = str(find_sample("t1.jpg"))
    code = (
        "import sys\nfrom facecli.cli.group import facecli\n"
        f"facecli.main(['verify', '-d', 'cpu:0,1', {photo!r}, {photo!r}], 'facecli', standalone_mode=False)\n"
        "assert 'facecli.searching.reading' in sys.modules\nassert 'facecli.vision.serving.pooled' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_search_with_many_queries_answers_as_on_one_device(crowd: Path, tmp_path: Path, behave: Behave) -> None:
    index_photos(IndexRequest(str(tmp_path / "index"), (str(crowd),), None, IndexOptions(device="cpu")))
    used = behave({})
    queries = [str(path) for path in sorted(crowd.iterdir())]
    with open_reader(tmp_path / "index") as reader:
        one, two = (
            search_index(reader, [*queries, "face:1", str(tmp_path)], SearchOptions(device=name))
            for name in ("cpu", "cpu:0,1")
        )
    assert [(r.query.query, r.matches) for r in two.results] == [(r.query.query, r.matches) for r in one.results]
    assert [str(f) for f in two.failures] == [str(f) for f in one.failures]
    assert len(two.failures) == 1
    assert set(used) == {"cpu:0", "cpu:1"}
