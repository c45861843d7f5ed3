"""The limits of grouping belong to a recogniser."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from facecli.errors import UsageError
from facecli.people.limits import DEFAULT, DEFAULT_RECOGNISER, limits_for
from facecli.thresholds import MEASURED, Calibration, Point

OTHER = "0" * 64


def test_the_default_pack_needs_nothing() -> None:
    assert limits_for(DEFAULT_RECOGNISER, None, None) == DEFAULT


def test_a_threshold_moves_all_limits() -> None:
    moved = limits_for(DEFAULT_RECOGNISER, None, 0.48)
    assert moved.link == pytest.approx(0.48)
    assert moved.merge - DEFAULT.merge == pytest.approx(0.1)
    assert moved.margin == DEFAULT.margin


def test_another_pack_needs_a_calibration_or_a_threshold() -> None:
    with pytest.raises(UsageError, match="not calibrated") as raised:
        limits_for(OTHER, None, None)
    assert "facecli calibrate" in raised.value.hint
    assert limits_for(OTHER, None, 0.5).link == pytest.approx(0.5)
    few = replace(MEASURED[DEFAULT_RECOGNISER], points=MEASURED[DEFAULT_RECOGNISER].points[:3])
    with pytest.raises(UsageError, match="which grouping needs, was not measured"):
        limits_for(OTHER, few, None)


def test_a_calibration_gives_the_same_rates_on_another_scale() -> None:
    known = MEASURED[DEFAULT_RECOGNISER]
    same = limits_for(OTHER, known, None)
    assert same.link == pytest.approx(DEFAULT.link, abs=0.002)
    points = tuple(Point(0.1 + 2 * p.threshold, p.false_matches, p.true_matches) for p in known.points)
    wider = limits_for(OTHER, Calibration(points, 24, 10**6, "made up"), None)
    assert wider.link == pytest.approx(0.1 + 2 * DEFAULT.link, abs=0.005)
    assert wider.small == pytest.approx(2 * DEFAULT.small, rel=0.05)
    assert wider.merge == 1.0
