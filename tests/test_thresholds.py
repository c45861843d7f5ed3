"""The meaning of similarities: interpolation, presets, the automatic threshold, confidence."""

from __future__ import annotations

import json
import math

import pytest

from facecli.errors import UsageError
from facecli.thresholds import (
    MEASURED,
    Calibration,
    ConfidenceScale,
    Point,
    choose_threshold,
    confidence_scale,
    rate_for,
    read_threshold,
    spoken,
)
from facecli.types import Confidence

DEFAULT = next(iter(MEASURED.values()))
SMALL = Calibration((Point(0.1, 1e-2, 0.99), Point(0.2, 1e-3, 0.9)), people=3, pairs=2000, data="a test")


def test_presets_are_where_their_rates_were_measured() -> None:
    chosen = {name: choose_threshold(name, DEFAULT, 1000).minimum for name in ("loose", "balanced", "strict")}
    assert chosen == {"loose": 0.28, "balanced": 0.34, "strict": 0.40}


@pytest.mark.parametrize(
    ("faces", "minimum"),
    [
        (0, 0.28),
        (1, 0.28),
        (34, 0.28),
        (1_000, 0.312),
        (10_000, 0.353),
        (100_000, 0.391),
        (1_000_000, 0.418),
        (10**8, 0.42),
    ],
)
def test_auto_rises_with_the_index_between_its_ends(faces: int, minimum: float) -> None:
    assert choose_threshold("auto", DEFAULT, faces).minimum == minimum


@pytest.mark.parametrize("faces", [500, 5_000, 50_000, 500_000])
def test_auto_keeps_to_one_chance_in_ten_of_any_stranger(faces: int) -> None:
    threshold = choose_threshold("auto", DEFAULT, faces)
    assert threshold.rate is not None
    assert 0.09 < 1 - (1 - threshold.rate) ** faces <= 0.104
    assert not threshold.exceeded


def test_beyond_what_was_measured_auto_says_how_many_strangers_to_expect() -> None:
    threshold = choose_threshold("auto", DEFAULT, 25_000_000)
    assert threshold.exceeded
    assert not choose_threshold("auto", None, 25_000_000).exceeded, "of what was not measured nothing is known"
    assert (
        threshold.expectation()
        == "threshold 0.42 is the highest that was measured: expect about 2 strangers over it among 25,000,000 faces"
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("balanced", "threshold 0.34 (balanced): about 1 false match in 45,000 comparisons (measured on 24 people)"),
        ("0.34", "threshold 0.34: about 1 false match in 45,000 comparisons (measured on 24 people)"),
        ("strict", "threshold 0.4 (strict): about 1 false match in 1.6 million comparisons (measured on 24 people)"),
        ("0.6", "threshold 0.6: fewer than 1 false match in 12 million comparisons (measured on 24 people)"),
        ("0", "threshold 0: more than 1 false match in 130 comparisons (measured on 24 people)"),
        ("none", "threshold none: every face is a match"),
    ],
)
def test_a_threshold_says_its_rate(asked: str, said: str) -> None:
    assert choose_threshold(asked, DEFAULT, 100).describe() == said


def test_a_pack_without_calibration_takes_a_number_or_none() -> None:
    assert choose_threshold("0.3", None, 100).minimum == 0.3
    assert choose_threshold("0.3", None, 100).describe() == "threshold 0.3: false-match rate not measured"
    assert choose_threshold("auto", None, 100).minimum is None
    assert "not calibrated" in choose_threshold("auto", None, 100).describe()
    with pytest.raises(UsageError, match="not calibrated"):
        choose_threshold("strict", None, 100)


def test_a_small_calibration_gives_no_preset_that_it_did_not_measure() -> None:
    assert choose_threshold("auto", SMALL, 10_000).minimum == 0.2
    with pytest.raises(UsageError, match="not measured"):
        choose_threshold("balanced", SMALL, 100)


@pytest.mark.parametrize("asked", ["tight", "1.01", "-1.5", "nan", "", "inf"])
def test_anything_else_is_no_threshold(asked: str) -> None:
    with pytest.raises(UsageError):
        read_threshold(asked)


@pytest.mark.parametrize("similarity", [0.2, 0.25, 0.333, 0.42])
def test_rate_and_threshold_are_each_the_inverse_of_the_other(similarity: float) -> None:
    assert math.isclose(DEFAULT.threshold_at(DEFAULT.rate_at(similarity)), similarity, abs_tol=0.00101)


def test_the_rate_for_one_chance_in_ten() -> None:
    assert math.isclose(1 - (1 - rate_for(1000)) ** 1000, 0.1)


def test_a_calibration_survives_json() -> None:
    assert Calibration.from_record(json.loads(json.dumps(DEFAULT.to_record()))) == DEFAULT


@pytest.mark.parametrize(
    "points",
    [[], [[0.1, 1e-2, 1], [0.1, 1e-3, 1]], [[0.1, 1e-3, 1], [0.2, 1e-2, 1]], [[0.1, 1e-3, 1], [0.2, 0, 1]], "x"],
)
def test_a_calibration_out_of_order_is_refused(points: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        Calibration.from_record({"points": points, "people": 2, "pairs": 3, "data": ""})


@pytest.mark.parametrize(
    ("similarity", "faces", "confidence"),
    [
        (0.63, 34, Confidence.LIKELY),
        (0.63, 100_000, Confidence.LIKELY),
        (0.63, 10_000_000, Confidence.LIKELY),
        (0.40, 100_000, Confidence.POSSIBLE),
        (0.34, 100_000, Confidence.UNLIKELY),
        (0.34, 100, Confidence.LIKELY),
        (0.30, 100, Confidence.POSSIBLE),
        (0.43, 10_000_000, Confidence.POSSIBLE),
        (0.27, 1, Confidence.UNLIKELY),
        (0.27, 0, Confidence.UNLIKELY),
        (-0.13, 34, Confidence.UNLIKELY),
    ],
)
def test_confidence_follows_the_similarity_and_the_size_of_the_index(
    similarity: float, faces: int, confidence: Confidence
) -> None:
    assert confidence_scale(DEFAULT, faces).judge(similarity) is confidence


def test_each_end_of_the_scale_belongs_to_the_better_word() -> None:
    judged = [ConfidenceScale(0.3, 0.4).judge(similarity) for similarity in (0.4, 0.3999, 0.3, 0.2999)]
    assert judged == [Confidence.LIKELY, Confidence.POSSIBLE, Confidence.POSSIBLE, Confidence.UNLIKELY]


@pytest.mark.parametrize("faces", [1, 100, 30_000, 10**6, 10**9])
def test_what_auto_finds_is_possible_or_likely(faces: int) -> None:
    scale, minimum = confidence_scale(DEFAULT, faces), choose_threshold("auto", DEFAULT, faces).minimum
    assert minimum == scale.possible <= scale.likely < 0.65


def test_a_measurement_of_one_rate_has_a_scale() -> None:
    flat = Calibration((Point(0.3, 0.01, 0.9),), 2, 100, "two people")
    assert confidence_scale(flat, 1000) == ConfidenceScale(0.3, 0.3)


@pytest.mark.parametrize(
    ("count", "said"),
    [(130.2, "130"), (45454, "45,000"), (1_587_301, "1.6 million"), (12.5e6, "12 million"), (1.3, "1")],
)
def test_large_numbers_are_spoken_to_two_digits(count: float, said: str) -> None:
    assert spoken(count) == said
