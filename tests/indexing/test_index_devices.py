"""Index runs on several devices (here sessions on the CPU) find the same faces, even if devices fail."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from misbehaving import PHOTOS, begins_after, lost_after, quick_and_slow, small, together
from notes import Notes
from numpy.typing import NDArray

from facecli.config import IndexOptions
from facecli.errors import DeviceError
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.store.reader import open_reader
from facecli.types import IndexReport


def index(target: Path, photos: Path, device: str, notes: Notes | None = None, **options: Any) -> IndexReport:
    options = {"processes": 0} | options  # other processes would not know the devices of these tests
    return index_photos(
        IndexRequest(str(target), (str(photos),), None, IndexOptions(device=device, **options)), notes or Notes()
    )


def faces_of(target: Path) -> list[tuple[str, bytes, NDArray[np.float32]]]:
    """The name, the box with score, and the embedding of every face."""
    with open_reader(target) as store:
        return [
            (Path(photo.file.path).name, np.float32([*face.box, face.score]).tobytes(), face.embedding)
            for photo in store.photos()
            for face in store.faces_of(photo.photo_id)
        ]


def bits(faces: Sequence[tuple[str, bytes, NDArray[np.float32]]]) -> list[tuple[str, bytes, bytes]]:
    return [(name, box, embedding.tobytes()) for name, box, embedding in faces]


def alike(
    faces: Sequence[tuple[str, bytes, NDArray[np.float32]]], others: Sequence[tuple[str, bytes, NDArray[np.float32]]]
) -> bool:
    """Whether the faces are the same but for the last bits, which batches change."""
    return [name for name, _, _ in faces] == [name for name, _, _ in others] and all(
        np.allclose(np.frombuffer(one, np.float32), np.frombuffer(other, np.float32), rtol=0, atol=0.01)
        and float(a @ b) > 0.999
        for (_, one, a), (_, other, b) in zip(faces, others, strict=True)
    )


def of_devices(notes: Notes) -> list[str]:
    """The warnings about devices."""
    return [line for line in notes.warnings if line.startswith("test:")]


@pytest.fixture(scope="session")
def expected(
    crowd: Path, tmp_path_factory: pytest.TempPathFactory, shared_cache: Path
) -> list[tuple[str, bytes, NDArray[np.float32]]]:
    """The faces found by the CPU alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        target = tmp_path_factory.mktemp("alone") / "index"
        index(target, crowd, "cpu")
        return faces_of(target)


def test_the_processor_named_twice_finds_what_it_finds_once_to_the_bit(
    tmp_path: Path, crowd: Path, expected: Any
) -> None:
    report = index(tmp_path / "index", crowd, "cpu:0,1")
    assert len(expected) == PHOTOS * 2
    assert bits(faces_of(tmp_path / "index")) == bits(expected)
    assert (report.device, report.provider, report.devices) == ("cpu:0,1", "CPUExecutionProvider", 0)


def test_several_devices_find_what_the_processor_finds_and_the_slow_one_does_less(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    used = behave(quick_and_slow(30))
    report = index(tmp_path / "index", crowd, "test:0,1", batch_size=2, chunk=2)
    assert alike(faces_of(tmp_path / "index"), expected)
    assert (report.device, report.devices, report.photos.new) == ("test:0,1", 2, PHOTOS)
    assert used["test:0"] > used["test:1"] > 0
    assert report.stages["detect"].busy_seconds > 0
    assert report.stages["detect"].wait_seconds > 0


def test_a_device_that_is_lost_costs_a_line_and_nothing_else(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    notes = Notes()
    lost = threading.Event()
    behave({"test:0": begins_after(lost), "test:1": lost_after(3, lost)})
    report = index(tmp_path / "index", crowd, "test:0,1", notes, batch_size=2, chunk=2)
    assert alike(faces_of(tmp_path / "index"), expected)
    [line] = of_devices(notes)
    assert line.startswith("test:1 on ")
    assert " failed and is left out; the others do its photos: " in line
    assert report.photos.new == PHOTOS


def test_a_device_with_little_memory_takes_less_at_once_and_it_is_said_once(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    notes = Notes()
    behave(together(small, small))
    index(tmp_path / "index", crowd, "test:0,1", notes, batch_size=4, chunk=4)
    assert alike(faces_of(tmp_path / "index"), expected)
    assert sorted(of_devices(notes)) == [
        f"test:{number} has not the memory for a batch of 4; going on with smaller ones" for number in (0, 1)
    ]


def test_when_the_last_device_is_lost_what_is_done_is_kept(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    notes = Notes()
    behave({"test:0": lost_after(9), "test:1": lost_after(20)})
    with pytest.raises(DeviceError) as caught:
        index(tmp_path / "index", crowd, "test:0,1", notes, batch_size=2, chunk=2)
    assert (caught.value.exit_code, len(of_devices(notes))) == (2, 1)
    assert caught.value.hint == "fell off the bus"
    kept = faces_of(tmp_path / "index")
    assert 0 < len(kept) < len(expected)
    report = index(tmp_path / "index", crowd, "cpu")
    assert report.photos.unchanged > 0
    assert alike(faces_of(tmp_path / "index"), expected)
