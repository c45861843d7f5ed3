"""`facecli calibrate` as its users run it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import faiss
import numpy as np
import pytest

from facecli.calibrating import find_calibration, keep_calibration, read_kept
from facecli.errors import UsageError
from facecli.searching import measuring
from facecli.searching.measuring import Sample, measure
from facecli.thresholds import MEASURED, Calibration, Point

if TYPE_CHECKING:
    from conftest import Shell

Find = Callable[[str], Path]


def sample_of(people: int, photos: int, spread: float, dimension: int = 32) -> Sample:
    """Unit vectors around one direction per person."""
    random = np.random.default_rng(5)
    centres = random.normal(size=(people, dimension))
    vectors = np.repeat(centres, photos, axis=0) + spread * random.normal(size=(people * photos, dimension))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Sample(vectors.astype(np.float32), np.repeat(np.arange(people, dtype=np.int32), photos), ())


def test_the_rates_are_those_of_all_pairs() -> None:
    sample = sample_of(20, 8, 0.8)
    measured = measure(sample, "people")
    likeness = sample.embeddings @ sample.embeddings.T
    upper = np.triu(np.ones_like(likeness, dtype=bool), 1)
    same = (sample.people[:, None] == sample.people[None, :]) & upper
    different = (sample.people[:, None] != sample.people[None, :]) & upper
    assert measured.pairs == different.sum()
    assert measured.people == 20
    for point in measured.points:
        assert point.false_matches == pytest.approx((likeness[different] >= np.float32(point.threshold)).mean())
        assert point.true_matches == pytest.approx((likeness[same] >= np.float32(point.threshold)).mean())
    assert measured.points[0].false_matches <= 0.05
    assert (likeness[different] >= np.float32(measured.highest + 0.02)).sum() < 3


def test_more_faces_than_one_block_count_each_pair_once() -> None:
    assert measure(sample_of(30, 50, 1.0), "people").pairs == 1500 * 1450 // 2


def test_the_error_of_short_codes_is_measured_on_many_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    sample = sample_of(12, 30, 1.0, 512)
    assert measure(sample, "people").estimate_error is None
    monkeypatch.setattr(measuring, "LEAST_MATCHES", 1000)
    measured = measure(sample, "people")
    assert measured.estimate_error is not None
    index: Any = faiss.IndexRaBitQ(512, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, 512), np.float32))
    index.add(sample.embeddings)
    index.qb = 4
    estimates, places = index.search(sample.embeddings, len(sample.people))
    low = np.take_along_axis(sample.embeddings @ sample.embeddings.T, places, 1) - estimates
    same = sample.people[:, None] == sample.people[places]
    assert low[same].max() <= measured.estimate_error < low[same].max() + 0.011
    assert 0.02 < measured.estimate_error < 0.2
    assert Calibration.from_record(json.loads(json.dumps(measured.to_record()))) == measured


@pytest.mark.parametrize("sample", [sample_of(1, 5, 1), sample_of(5, 1, 1), sample_of(2, 2, 0.01), sample_of(0, 0, 1)])
def test_too_few_faces_measure_nothing(sample: Sample) -> None:
    with pytest.raises(UsageError, match="too few"):
        measure(sample, "people")


def test_the_larger_measurement_counts() -> None:
    known, own = next(iter(MEASURED.items()))
    small = Calibration((Point(0.2, 1e-2, 1), Point(0.3, 1e-3, 1)), 3, 100, "small")
    keep_calibration(known, small)
    keep_calibration("ab" * 32, small)
    try:
        assert read_kept(known) == small
        assert find_calibration(known) == own
        assert find_calibration("ab" * 32) == small
        keep_calibration("ab" * 32, own).write_text("{}")
        assert find_calibration("ab" * 32) is None
    finally:
        for name in (known, "ab" * 32):
            keep_calibration(name, small).unlink()


def test_photos_of_two_people_that_never_match_measure_nothing(shell: Shell, find_sample: Find) -> None:
    (shell.work / "people/yao").mkdir(parents=True)
    (shell.work / "people/eileen").mkdir()
    image = cv2.imread(str(find_sample("yaoming.jpg")))
    assert image is not None
    shutil.copyfile(find_sample("yaoming.jpg"), shell.work / "people/yao/1.jpg")
    cv2.imwrite(str(shell.work / "people/yao/2.png"), image[:, ::-1])
    shutil.copyfile(find_sample("astronaut.png"), shell.work / "people/eileen/1.png")
    (shell.work / "people/eileen/2.jpg").write_text("no image\n" * 9)
    ran = shell("calibrate", "people", code=2)
    assert "too few faces" in ran.errors
    assert "people/eileen/2.jpg" in ran.errors
    assert shell("calibrate", "gone", code=2).errors.startswith("facecli: error: the directory cannot be read")


def test_a_measurement_is_printed_and_kept(shell: Shell, find_sample: Find, shared_cache: Path) -> None:
    """Each face of the group and of the team is a person of its own with two photos: enough pairs for a rate."""
    for name in ("t1.jpg", "players.jpg"):
        for crop in cut_faces(shell, find_sample(name)):
            folder = shell.work / "people" / crop.stem
            folder.mkdir(parents=True)
            image = cv2.imread(str(crop))
            assert image is not None
            cv2.imwrite(str(folder / "a.png"), image)
            cv2.imwrite(str(folder / "b.png"), image[:, ::-1])
    ran = shell("calibrate", "--json", "people")
    report = json.loads(ran.out)
    assert report["people"] >= 15
    assert Calibration.from_record(report).points
    (kept,) = (shared_cache / "facecli/calibrations").iterdir()
    assert Calibration.from_record(json.loads(kept.read_text())) == Calibration.from_record(report)
    assert "larger measurement" in ran.errors
    kept.unlink()


def cut_faces(shell: Shell, photo: Path) -> list[Path]:
    """The faces of a photo as pictures, with enough margin to be detected again."""
    image = cv2.imread(str(photo))
    assert image is not None
    places = []
    for line in shell("faces", "--json", photo).text.splitlines():
        record = json.loads(line)
        x1, y1, x2, y2 = map(int, record["box"])
        wide, high = (x2 - x1) // 2, (y2 - y1) // 2
        places.append(shell.work / f"{photo.stem}-{record['face']}.png")
        cut = image[max(y1 - high, 0) : y2 + high, max(x1 - wide, 0) : x2 + wide]
        cv2.imwrite(str(places[-1]), cv2.resize(cut, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC))
    return places
