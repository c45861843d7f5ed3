"""The devices of these tests: all CUDA GPUs, or where there are none the processor in their place (stand_in.py).

FACECLI_TEST_DEVICE names the devices, which must then be available: cuda, cuda:0, or cpu for the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from notes import Notes
from numpy.typing import NDArray
from stand_in import NAMED, put, stands_in

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
from facecli.vision.runtime.cuda import GPU_KINDS
from facecli.vision.runtime.providers import Device

CPU_FACES, GPU_FACES = 16, 200
"""The least faces of the gallery: where the processor stands in, it is smaller."""


@pytest.fixture(scope="session", autouse=True)
def _named_devices_are_there() -> None:
    """Every test fails at once, with one sentence, where the devices that are named are not there."""
    trouble = ""
    try:
        _ = () if stands_in() else find_devices(NAMED or "cuda")
    except DeviceError as error:
        trouble = str(error)
    if trouble:
        pytest.fail(f"FACECLI_TEST_DEVICE={NAMED}: {trouble}", pytrace=False)


@pytest.fixture(scope="module")
def gpus() -> Iterator[tuple[Device, ...]]:
    """The devices, for the tests of one file."""
    with pytest.MonkeyPatch.context() as patch:
        if stands_in():
            put(patch)
        yield find_devices(NAMED.replace("cpu", "cuda") or "cuda")


@pytest.fixture
def of_nvidia(gpus: tuple[Device, ...]) -> None:
    """Skips a test of NVIDIA's driver on other makers' devices."""
    if gpus[0].kind not in GPU_KINDS:
        pytest.skip("only NVIDIA's driver tells its memory and locks pages")


@pytest.fixture(scope="session")
def real_name() -> str:
    """The device's name for facecli in another process."""
    return "cpu" if stands_in() else NAMED or "cuda"


@pytest.fixture(scope="session")
def least_faces() -> int:
    """What the gallery must give at the least."""
    return CPU_FACES if stands_in() else GPU_FACES


@pytest.fixture
def notes() -> Notes:
    return Notes()


@dataclass
class Indexed:
    """Result of a run: the faces of each photo, by its name."""

    report: IndexReport
    faces: dict[str, list[StoredFace]]
    notes: Notes

    def of_devices(self) -> list[str]:
        """The warnings about devices."""
        return [line for line in self.notes.warnings if not line.startswith("a new index")]

    def cosines(self, other: Indexed) -> NDArray[np.float64]:
        """Cosine of each face to the same face of another run; both runs must have found the same faces."""
        assert self.faces.keys() == other.faces.keys()
        found: list[float] = []
        for name, faces in self.faces.items():
            assert len(faces) == len(other.faces[name]), f"{name}: faces are missed or extra"
            found += [_cosine(mine, theirs) for mine, theirs in _pairs(faces, other.faces[name])]
        return np.array(found)


def _pairs(faces: list[StoredFace], others: list[StoredFace]) -> Iterator[tuple[StoredFace, StoredFace]]:
    """The faces in the same places, to half a pixel of the detector's input; their order may differ."""
    if not faces:
        return
    mine, theirs = (np.array([face.box for face in some], np.float64) for some in (faces, others))
    tolerance = 0.5 * max(1.0, float(mine.max()) / 640)
    apart = np.abs(mine[:, None] - theirs[None]).max(axis=2)
    assert sorted(apart.argmin(axis=1)) == list(range(len(others))), "two faces are one"
    for face, distances in zip(faces, apart, strict=True):
        other = others[int(distances.argmin())]
        assert distances.min() <= tolerance, f"{face.box} and {other.box}"
        assert face.found_by == other.found_by
        yield face, other


def _cosine(face: StoredFace, other: StoredFace) -> float:
    one, two = face.embedding.astype(np.float64), other.embedding.astype(np.float64)
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def read_faces(target: Path) -> dict[str, list[StoredFace]]:
    """The faces of an index by the names of their photos."""
    with open_reader(target) as store:
        return {Path(photo.file.path).name: store.faces_of(photo.photo_id) for photo in store.photos()}


@pytest.fixture
def index_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Indexed]:
    """A function that indexes photos on devices, in this process unless told, with further provider options."""

    def index(
        devices: Sequence[Device], photos: Path, *, further: dict[str, str] | None = None, **options: Any
    ) -> Indexed:
        changed = tuple(replace(d, options=(*d.options, *(further or {}).items())) for d in devices)
        # Other processes would not know the further options.
        monkeypatch.setattr(engines, "find_devices", lambda _: changed)
        monkeypatch.setattr(chunk_worker, "find_devices", lambda name: [d for d in changed if d.name == name])
        target, notes = tmp_path / f"index-{len(list(tmp_path.iterdir()))}", Notes()
        wanted = IndexOptions(**({"processes": 0} | options))
        report = index_photos(IndexRequest(str(target), (str(photos),), None, wanted), notes)
        return Indexed(report, read_faces(target), notes)

    return index


@pytest.fixture
def on_gallery(index_on: Callable[..., Indexed], gallery: Path) -> Callable[..., Indexed]:
    """A function that indexes the gallery."""
    return lambda devices, **options: index_on(devices, gallery, **options)


@pytest.fixture(scope="session")
def expected(gallery: Path, tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Indexed:
    """What the processor finds in the gallery."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        target, options = tmp_path_factory.mktemp("expected") / "index", IndexOptions(device="cpu", processes=0)
        report = index_photos(IndexRequest(str(target), (str(gallery),), None, options), notes := Notes())
        return Indexed(report, read_faces(target), notes)


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory, find_sample: Callable[[str], Path]) -> Path:
    """The sample photos, and many crops of them in several sizes, so that batches fill up."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("gallery")
    crowd = () if stands_in() else ("players.jpg",)
    for name in (*crowd, "gdp.jpg", "t1.jpg", "astronaut.png", "Tom_Hanks_54745.png"):
        picture = Image.open(find_sample(name)).convert("RGB")
        picture.save(folder / f"{Path(name).stem}.png")
        for number in range(1 if stands_in() else 12):
            left, top = number * picture.width // 60, number * picture.height // 90
            picture.crop((left, top, left + picture.width // 2, top + picture.height * 2 // 3)).save(
                folder / f"{Path(name).stem}-{number:02}.png"
            )
    return folder
