"""Index runs on several devices (here sessions on the CPU) find the same faces, even if devices fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from facecli.vision.serving import pooled
from facecli.vision.serving.pooling import Batching
from misbehaving import PHOTOS, lost_after, slow, small
from notes import Notes
from numpy.typing import NDArray

from facecli.config import IndexOptions
from facecli.errors import DeviceError
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.store.reader import open_reader
from facecli.types import IndexReport
from facecli.vision.runtime.providers import Device


def index(target: Path, photos: Path, device: str, notes: Notes | None = None, **options: Any) -> IndexReport:
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
    """Whether the faces are identical, and their embeddings equal except for rounding to 16 bits."""
    same = [(name, box) for name, box, _ in faces] == [(name, box) for name, box, _ in others]
    return same and all(
        np.allclose(a, b, rtol=0, atol=2e-4) for (_, _, a), (_, _, b) in zip(faces, others, strict=True)
    )


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


def test_several_devices_find_what_one_finds_to_the_bit(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    used = behave({"cpu:1": slow})
    report = index(tmp_path / "index", crowd, "cpu:0,1")
    assert len(expected) == PHOTOS * 2
    assert bits(faces_of(tmp_path / "index")) == bits(expected)
    assert (report.device, report.provider, report.devices) == ("cpu:0,1", "CPUExecutionProvider", 2)
    assert used["cpu:0"] > used["cpu:1"] > 0, "both work, and the slow one less"
    assert report.stages["detect"].busy_seconds > 0
    assert report.stages["detect"].wait_seconds > 0


def test_a_device_that_is_lost_costs_a_line_and_nothing_else(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    used, notes = behave({"cpu:1": lost_after(5)}), Notes()
    report = index(tmp_path / "index", crowd, "cpu:0,1", notes)
    assert bits(faces_of(tmp_path / "index")) == bits(expected)
    assert notes.warnings == ["cpu:1 failed and is left out; its batch is done by the other: fell off the bus"]
    assert (report.photos.new, used["cpu:1"] in (5, 6)) == (PHOTOS, True), "both networks may be at their fifth run"


def test_a_device_with_little_memory_takes_less_at_once(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    notes = Notes()
    behave({"cpu:0": small, "cpu:1": small})
    index(tmp_path / "index", crowd, "cpu:0,1", notes)
    assert alike(faces_of(tmp_path / "index"), expected)
    assert set(notes.warnings) == {
        f"cpu:{n} has not the memory for a batch of that size; going on with 1 at once" for n in (0, 1)
    }


def test_when_the_last_device_is_lost_what_is_done_is_kept(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any
) -> None:
    notes = Notes()
    behave({"cpu:0": lost_after(9), "cpu:1": lost_after(20)})
    with pytest.raises(DeviceError, match=r"the device failed \(fell off the bus\): cpu:[01]") as caught:
        index(tmp_path / "index", crowd, "cpu:0,1", notes, jobs=2)
    assert (caught.value.exit_code, len(notes.warnings)) == (2, 1)
    kept = faces_of(tmp_path / "index")
    assert 0 < len(kept) < len(expected)
    report = index(tmp_path / "index", crowd, "cpu")
    assert report.photos.unchanged > 0
    assert bits(faces_of(tmp_path / "index")) == bits(expected)


def test_batches_pooled_over_photos_and_filled_up_find_the_same(
    tmp_path: Path, crowd: Path, expected: Any, behave: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings as on a GPU: few sizes, shared by the threads, two threads per device, warmed up in the background."""
    sizes: set[int] = set()
    behave({"cpu:0": lambda feed, _: sizes.add(len(feed))})
    monkeypatch.setattr(pooled, "batching_for", lambda _device, size: Batching(size, (1, 2, 4, 8), threads=2))
    index(tmp_path / "index", crowd, "cpu:0,1", batch_size=8)
    assert alike(faces_of(tmp_path / "index"), expected)
    assert max(sizes) > 2
    assert sizes <= {1, 2, 4, 8}


def test_other_devices_than_a_processor_get_powers_of_two() -> None:
    batching = pooled.batching_for(Device("cuda:0", "CUDAExecutionProvider"), 48)
    assert (batching.most, batching.sizes, batching.joins, batching.threads) == (32, (1, 2, 4, 8, 16, 32), True, 2)
    assert pooled.batching_for(Device("cuda:0", "CUDAExecutionProvider"), 1).sizes == (1,)
    assert not pooled.batching_for(Device("cpu:0", "CPUExecutionProvider"), 64).joins
