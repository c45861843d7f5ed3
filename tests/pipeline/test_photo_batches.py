"""A worker on a device that works in batches finds what threads find, one photo each, and what InsightFace finds."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from misbehaving import PHOTOS, add_test_devices, let_behave, lost_after
from notes import Notes
from numpy.typing import NDArray
from PIL import Image

from facecli.config import DetectionOptions, Precision, ReadOptions
from facecli.errors import DeviceError, DeviceFull
from facecli.pipeline import photo_batches
from facecli.pipeline.chunk_worker import ChunkWorker
from facecli.pipeline.messages import PackName, PhotoChunk, PhotoResult, PhotoTask, ResultKind, Spec
from facecli.pipeline.ties import Ties
from facecli.vision.optimization import optimized
from facecli.vision.packs.resolve import find_pack

SAMPLES = ("players.jpg", "gdp.jpg", "t1.jpg", "astronaut.png", "yaoming.jpg", "Tom_Hanks_54745.png")
Faces = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], bytes, NDArray[np.float32]]


@pytest.fixture(autouse=True)
def _cache(shared_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shared_cache))


@pytest.fixture(scope="module")
def gallery(crowd: Path, find_sample: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of many kinds: crowds, EXIF orientations, on their side, a strip, tiny, without faces, and broken ones."""
    folder = tmp_path_factory.mktemp("kinds")
    for path in (*sorted(crowd.iterdir())[:5], *map(find_sample, SAMPLES)):
        shutil.copy(path, folder / path.name)
    team = Image.open(find_sample("players.jpg")).convert("RGB")
    for orientation in (3, 6, 8):
        exif = Image.Exif()
        exif[0x0112] = orientation
        team.resize((640 + orientation, 432)).save(folder / f"orientation-{orientation}.jpg", exif=exif, quality=95)
    portrait = Image.open(find_sample("Tom_Hanks_54745.png")).convert("RGB")
    for quarters in (1, 2, 3):
        portrait.rotate(90 * quarters, expand=True).save(folder / f"turned-{quarters}.png")
    strip = Image.new("RGB", (6 * team.width, team.height))
    for number in range(6):
        strip.paste(team, (number * team.width, 0))
    strip.resize((strip.width // 2, strip.height // 2)).save(folder / "strip.jpg", quality=95)
    Image.new("RGB", (3, 2), "red").save(folder / "tiny.png")
    Image.effect_noise((300, 200), 60).convert("RGB").save(folder / "noise.webp", lossless=True)
    (folder / "broken.jpg").write_bytes((folder / "strip.jpg").read_bytes()[:4000])
    (folder / "text.jpg").write_text("no photo at all")
    return folder


def spec_for(device: str, **changes: Any) -> Spec:
    pack = find_pack(None)
    name = PackName(pack.name, "", pack.detector.sha256, pack.recogniser.sha256)
    given = {"jobs": 2, "batch_size": 8} | changes
    detection = given.pop("detection", DetectionOptions())
    return Spec("", name, detection, Precision.EXACT, ReadOptions(), device, **given)


@contextmanager
def worker_on(device: str, ties: Ties | None = None, **changes: Any) -> Iterator[ChunkWorker]:
    worker = ChunkWorker(spec_for(device, **changes), ties or Ties())
    try:
        yield worker
    finally:
        worker.close()


def tasks_for(folder: Path) -> tuple[PhotoTask, ...]:
    return tuple(PhotoTask(os.fsencode(path), path.stat().st_size, 0) for path in sorted(folder.iterdir()))


def results_on(device: str, folder: Path, ties: Ties | None = None, **changes: Any) -> list[PhotoResult]:
    with worker_on(device, ties, **changes) as worker:
        return list(worker.work(PhotoChunk(0, tasks_for(folder))).results)


def faces_of(result: PhotoResult) -> Faces:
    boxes = np.frombuffer(result.boxes, "<f4").reshape(-1, 4)
    landmarks = np.frombuffer(result.landmarks, "<f4").reshape(-1, 5, 2)
    codes = np.frombuffer(result.codes, "<f2").reshape(len(boxes), 512).astype(np.float32)
    return boxes, np.frombuffer(result.scores, "<f4"), landmarks, result.found_by, codes


def assert_same(found: Sequence[PhotoResult], expected: Sequence[PhotoResult]) -> None:
    """The same faces and the same reasons; numbers may differ by what batches change in the last bits."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        name = theirs.path.decode()
        plain = ("kind", "path", "size", "mtime_ns", "digest", "width", "height", "reason", "detail", "found_by")
        assert [getattr(mine, field) for field in plain] == [getattr(theirs, field) for field in plain], name
        one, other = faces_of(mine), faces_of(theirs)
        np.testing.assert_allclose(one[0], other[0], rtol=0, atol=0.01, err_msg=name)
        np.testing.assert_allclose(one[1], other[1], rtol=0, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(one[2], other[2], rtol=0, atol=0.01, err_msg=name)
        assert (one[4] * other[4]).sum(axis=1).min(initial=1.0) > 0.999, name


@pytest.fixture(scope="module")
def expected(gallery: Path, shared_cache: Path) -> list[PhotoResult]:
    """What threads find on the CPU, one photo each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        found = results_on("cpu", gallery)
    assert {result.kind for result in found} == {ResultKind.FRESH, ResultKind.SKIPPED}
    assert {n for result in found for n in result.found_by} == {0, 1, 2, 3}, "every pass finds some face"
    return found


@pytest.fixture(scope="module")
def expected_crowd(crowd: Path, shared_cache: Path) -> list[PhotoResult]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(shared_cache))
        return results_on("cpu", crowd)


@pytest.mark.parametrize("changes", [{"jobs": 1, "batch_size": 1}, {"jobs": 5, "batch_size": 64}], ids=str)
def test_batches_find_what_threads_find(
    changes: dict[str, int], gallery: Path, expected: list[PhotoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_test_devices(monkeypatch)
    assert_same(results_on("test", gallery, **changes), expected)


def test_networks_that_do_not_take_pixels_find_the_same(
    crowd: Path, expected_crowd: list[PhotoResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sizes: set[tuple[int, ...]] = set()
    let_behave(monkeypatch, {"test:0": lambda feed, _: sizes.add(feed.shape)})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in ("same_faces", "same_embeddings"):
        monkeypatch.setattr(optimized.equivalence, name, lambda *_: False)
    assert_same(results_on("test", crowd), expected_crowd)
    assert {shape[1:] for shape in sizes} >= {(3, 640, 640), (3, 112, 112)}
    assert max(shape[0] for shape in sizes) > 1


def test_small_faces_are_found_in_tiles_too(
    tmp_path: Path, find_sample: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_test_devices(monkeypatch)
    for name in ("t1.jpg", "players.jpg"):
        shutil.copy(find_sample(name), tmp_path / name)
    detection = DetectionOptions(tiles=True, rotate=False)
    found = results_on("test", tmp_path, detection=detection)
    assert_same(found, results_on("cpu", tmp_path, detection=detection))
    assert b"\x03" in b"".join(result.found_by for result in found)


@pytest.mark.filterwarnings("ignore:`estimate` is deprecated:FutureWarning")
def test_batches_find_what_insightface_finds(
    crowd: Path, find_sample: Callable[[str], Path], oracle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_test_devices(monkeypatch)
    in_frame = [name for name in SAMPLES if not name.startswith("Tom")]  # InsightFace finds no face that fills it
    for path in (*sorted(crowd.iterdir())[:6], *map(find_sample, in_frame)):
        shutil.copy(path, tmp_path / path.name)
    for result in results_on("test", tmp_path):
        boxes, scores, landmarks, found_by, codes = faces_of(result)
        main = np.frombuffer(found_by, np.uint8) == 0
        known = oracle.get(cv2.imread(result.path.decode()))
        assert len(known) == main.sum() > 0
        np.testing.assert_allclose(boxes[main], [face.bbox for face in known], rtol=0, atol=0.02)
        np.testing.assert_allclose(scores[main], [face.det_score for face in known], rtol=0, atol=1e-4)
        np.testing.assert_allclose(landmarks[main], [face.kps for face in known], rtol=0, atol=0.02)
        cosines = (codes[main] * [face.normed_embedding for face in known]).sum(axis=1)
        assert cosines.min() > 0.999


def test_several_chunks_at_once_find_the_same(
    gallery: Path, expected: list[PhotoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_test_devices(monkeypatch)
    tasks = tasks_for(gallery)
    chunks = [PhotoChunk(n, tasks[start : start + 5]) for n, start in enumerate(range(0, len(tasks), 5))]
    with worker_on("test", batch_size=4) as worker, ThreadPoolExecutor(4) as crew:
        answers = list(crew.map(worker.work, chunks))
        assert worker.hello().most == 4
    assert [answer.number for answer in answers] == list(range(len(chunks)))
    assert_same([result for answer in answers for result in answer.results], expected)
    assert {answer.provider for answer in answers} == {"CPUExecutionProvider"}
    assert sum(answer.times["detect"][0] for answer in answers) > 0


def test_little_memory_makes_batches_small_and_a_large_photo_is_alone(
    gallery: Path,
    crowd: Path,
    expected: list[PhotoResult],
    expected_crowd: list[PhotoResult],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []
    let_behave(monkeypatch, {"test:0": lambda feed, _: sizes.append(len(feed)) if feed.shape[1] == 640 else None})
    assert_same(results_on("test", gallery, max_memory=4_000_000), expected)
    assert 1 < max(sizes) <= 8
    sizes.clear()
    assert_same(results_on("test", crowd, max_memory=1000), expected_crowd)
    assert sizes == [1] * PHOTOS, "each photo alone"


def test_a_batch_that_does_not_fit_is_halved_and_said_once(
    gallery: Path, expected: list[PhotoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def room_for_two(feed: NDArray[Any], _: int) -> None:
        if len(feed) > 2:
            raise DeviceFull("the device is out of memory", "test", hint="Failed to allocate memory")
        seen.append(len(feed))

    let_behave(monkeypatch, {"test:0": room_for_two})
    notes = Notes()
    assert_same(results_on("test", gallery, Ties(report=notes)), expected)
    assert set(seen) == {1, 2}
    assert notes.warnings == ["test:0 has not the memory for a batch of 8; going on with smaller ones"]


def test_a_device_without_memory_for_one_photo_and_one_that_is_lost_are_errors(
    crowd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_feed: NDArray[Any], _: int) -> None:
        raise DeviceFull("the device is out of memory", "test", hint="Failed to allocate memory")

    let_behave(monkeypatch, {"test:0": full, "test:1": lost_after(3)})
    with pytest.raises(DeviceFull), worker_on("test:0") as worker:
        worker.work(PhotoChunk(0, tasks_for(crowd)))
    with pytest.raises(DeviceError) as caught, worker_on("test:1") as worker:
        worker.work(PhotoChunk(0, tasks_for(crowd)))
    assert caught.value.hint == "fell off the bus"


def test_few_sizes_of_batch_are_run(crowd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[int] = set()
    let_behave(monkeypatch, {"test:0": lambda feed, _: sizes.add(len(feed))})
    with worker_on("test", batch_size=16) as worker:
        for count in (1, 3, 6, 13, 24):
            worker.work(PhotoChunk(0, tasks_for(crowd)[:count]))
    assert sizes <= {1, 2, 4, 8, 16, 32, 64}


def test_the_next_batch_is_filled_while_the_device_computes(crowd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computing, filled = threading.Event(), threading.Event()

    def wait_for_the_other(_feed: NDArray[Any], before: int) -> None:
        if before == 0:
            computing.set()
            assert filled.wait(60), "the other chunk is read and decoded meanwhile"

    let_behave(monkeypatch, {"test:0": wait_for_the_other})
    tasks = tasks_for(crowd)
    with worker_on("test") as worker, ThreadPoolExecutor(2) as crew:
        first = crew.submit(worker.work, PhotoChunk(0, tasks[:8]))
        assert computing.wait(60)
        fill = photo_batches.PhotoBatches._fill

        def told(self: Any, *rest: Any) -> None:
            fill(self, *rest)
            filled.set()

        monkeypatch.setattr(photo_batches.PhotoBatches, "_fill", told)
        second = crew.submit(worker.work, PhotoChunk(1, tasks[8:16]))
        assert len(first.result().results) == len(second.result().results) == 8


@pytest.mark.parametrize("device", ["cpu", "test"])
def test_known_contents_and_copies_cost_no_inference(
    device: str, crowd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = let_behave(monkeypatch, {})
    for number, path in enumerate(sorted(crowd.iterdir())[:4]):
        for copy in range(3):
            shutil.copy(path, tmp_path / f"{copy}-{number}.png")
    whole = results_on(device, tmp_path)
    assert len({result.digest for result in whole}) == 4
    assert len({result.path for result in whole}) == 12
    for result in whole:
        twin = next(other for other in whole if other.digest == result.digest)
        assert (result.kind, result.codes, result.boxes) == (ResultKind.FRESH, twin.codes, twin.boxes)
    after = dict(used)
    tasks = tuple(PhotoTask(r.path, r.size, r.mtime_ns, r.digest) for r in whole)
    removed = whole[0].digest
    with worker_on(device, Ties(knows=lambda digest, _: digest == removed)) as worker:
        unaltered = worker.work(PhotoChunk(0, tasks)).results
        assert {result.kind for result in unaltered} == {ResultKind.UNALTERED}
        bare = tuple(PhotoTask(r.path, r.size, r.mtime_ns) for r in whole if r.digest == removed)
        assert {result.kind for result in worker.work(PhotoChunk(1, bare)).results} == {ResultKind.RECOGNISED}
        assert worker.provider == "", "no photo needed the models"
        assert used == after
        again = worker.work(PhotoChunk(2, tasks[1:], force=True)).results
        kinds = {result.digest == removed: result.kind for result in again}
        assert kinds == {True: ResultKind.RECOGNISED, False: ResultKind.FRESH}


def test_after_finish_the_first_results_come_and_no_more(
    gallery: Path, expected: list[PhotoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    workers: list[ChunkWorker] = []

    def finish(_feed: NDArray[Any], before: int) -> None:
        if before == 4:
            workers[0].finish()

    let_behave(monkeypatch, {"test:0": finish})
    with worker_on("test", batch_size=4) as worker:
        workers.append(worker)
        first = worker.work(PhotoChunk(0, tasks_for(gallery))).results
        assert worker.work(PhotoChunk(1, tasks_for(gallery))).results == ()
    assert 0 < len(first) < len(expected)
    assert_same(first, expected[: len(first)])


def test_a_decoder_is_isolated_where_asked(
    crowd: Path, expected_crowd: list[PhotoResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    from facecli.photos.isolation import Helper

    opened: list[object] = []
    original = Helper.open_picture
    monkeypatch.setattr(Helper, "open_picture", lambda self, *a, **k: opened.append(a) or original(self, *a, **k))
    add_test_devices(monkeypatch)
    with worker_on("test") as worker:
        found = worker.work(PhotoChunk(0, tasks_for(crowd)[:3], isolated=True)).results
    assert len(opened) == 3
    assert_same(found, expected_crowd[:3])
    assert len(found) < PHOTOS
