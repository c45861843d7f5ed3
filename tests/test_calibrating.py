"""Measurements are saved in private folders, completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from facecli.calibrating import keep_calibration, read_kept
from facecli.errors import OutputError
from facecli.thresholds import MEASURED

CALIBRATION = next(iter(MEASURED.values()))


def test_a_measurement_is_kept_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = keep_calibration("ab" * 32, CALIBRATION)
    assert read_kept("ab" * 32) == CALIBRATION
    assert [path.stat().st_mode & 0o777 for path in (place, *place.parents[:3])] == [0o600, 0o700, 0o700, 0o700]
    assert [p.name for p in place.parent.iterdir()] == [place.name]


def test_a_cache_that_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(OutputError, match="cannot be saved"):
        keep_calibration("ab" * 32, CALIBRATION)
