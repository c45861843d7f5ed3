"""The devices of these tests: all CUDA GPUs, or the ones in FACECLI_TEST_DEVICE, which must then be available."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from notes import Notes
from numpy.typing import NDArray

from facecli.config import IndexOptions
from facecli.errors import DeviceError
from facecli.indexing import engines
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.pipeline import chunk_worker
from facecli.store.reader import open_reader
from facecli.store.records import StoredFace
from facecli.types import IndexReport
from facecli.vision.devices.select import find_devices
from facecli.vision.runtime.providers import Device


@pytest.fixture(scope="session")
def gpus() -> tuple[Device, ...]:
    """The devices; without any, the test is skipped with the reason."""
    named = os.environ.get("FACECLI_TEST_DEVICE", "")
    try:
        return find_devices(named or "cuda")
    except DeviceError as error:
        if named:
            raise
        pytest.skip(f"no CUDA device: {error}")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@dataclass
class Indexed:
    """Result of a run: the faces of each photo, by its name."""

    report: IndexReport
    faces: dict[str, list[StoredFace]]
    notes: Notes

    def cosines(self, other: Indexed) -> NDArray[np.float64]:
        """Cosine of each face to the same face of another run; both runs must have the same faces in the same order."""
        assert self.faces.keys() == other.faces.keys()
        found = []
        for name, faces in self.faces.items():
            assert len(faces) == len(other.faces[name]), name
            for mine, theirs in zip(faces, other.faces[name], strict=True):
                np.testing.assert_allclose(mine.box, theirs.box, atol=0.5)
                assert mine.found_by == theirs.found_by
                one, two = mine.embedding.astype(np.float64), theirs.embedding.astype(np.float64)
                found.append(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
        return np.array(found)


@pytest.fixture
def index_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Indexed]:
    """A function that indexes photos on devices with additional provider options."""

    def index(
        devices: Sequence[Device], photos: Path, *, further: dict[str, str] | None = None, **options: Any
    ) -> Indexed:
        changed = tuple(replace(d, options=(*d.options, *(further or {}).items())) for d in devices)
        # In this process, since the devices' further options are not known to others.
        monkeypatch.setattr(engines, "find_devices", lambda _: changed)
        monkeypatch.setattr(engines, "count_processes", lambda *_: 0)
        monkeypatch.setattr(chunk_worker, "find_devices", lambda name: [d for d in changed if d.name == name])
        target, notes = tmp_path / f"index-{len(list(tmp_path.iterdir()))}", Notes()
        report = index_photos(IndexRequest(str(target), (str(photos),), None, IndexOptions(**options)), notes)
        with open_reader(target) as store:
            found = {Path(photo.file.path).name: store.faces_of(photo.photo_id) for photo in store.photos()}
        return Indexed(report, found, notes)

    return index


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, find_sample: Callable[[str], Path]) -> Path:
    """The sample photos, and many crops of them in several sizes, so that batches fill up."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("gallery")
    for name in ("players.jpg", "gdp.jpg", "t1.jpg", "astronaut.png", "Tom_Hanks_54745.png"):
        picture = Image.open(find_sample(name)).convert("RGB")
        picture.save(folder / f"{Path(name).stem}.png")
        for number in range(24):
            left, top = number * picture.width // 60, number * picture.height // 90
            picture.crop((left, top, left + picture.width // 2, top + picture.height * 2 // 3)).save(
                folder / f"{Path(name).stem}-{number:02}.png"
            )
    return folder
