"""Times of stages, what bound a run, and how many cores there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from facecli.pipeline import clock as clock_module
from facecli.pipeline.clock import STAGES, StageClock, bottleneck
from facecli.pipeline.cores import usable_cores


def test_times_add_up() -> None:
    now = iter([1.0, 3.0, 10.0, 10.5])
    clock = StageClock(lambda: next(now))
    with clock.busy("decode"):
        pass
    with clock.waiting("decode"):
        pass
    times = clock.times()
    assert (times["decode"].busy_seconds, times["decode"].wait_seconds) == (2.0, 0.5)
    assert set(times) == set(STAGES)


@pytest.mark.parametrize(
    ("busy", "jobs", "bound"),
    [
        ({"decode": 8.0, "embed": 9.0, "write": 3.0}, 2, "embed"),
        ({"decode": 8.0, "embed": 9.0, "write": 9.0}, 2, "write"),
        ({"scan": 0.1}, 2, "scan"),
        ({}, 4, "scan"),
    ],
)
def test_what_bound_the_run(busy: dict[str, float], jobs: int, bound: str) -> None:
    clock = StageClock()
    for stage, seconds in busy.items():
        clock.add(stage, busy=seconds)
    assert bottleneck(clock.times(), jobs) == bound


@pytest.mark.parametrize(
    ("busy", "devices", "bound"),
    [
        ({"decode": 3.9, "align": 2.0, "detect": 4.0, "embed": 2.0}, 1, "detect"),
        ({"decode": 3.9, "align": 2.0, "detect": 4.0, "embed": 2.0}, 3, "decode"),
        ({"decode": 3.9, "detect": 4.0, "write": 5.0}, 2, "write"),
    ],
)
def test_devices_of_their_own_share_nothing_with_the_workers(
    busy: dict[str, float], devices: int, bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_module, "usable_cores", lambda: 2)
    clock = StageClock()
    for stage, seconds in busy.items():
        clock.add(stage, busy=seconds)
    assert bottleneck(clock.times(), 40, devices) == bound


@pytest.mark.parametrize(
    ("limit", "cores"), [("max 100000", None), ("150000 100000", 2), ("50000 100000", 1), ("nonsense", None), ("1600000 100000", None)]
)
def test_a_quota_of_the_container_counts(tmp_path: Path, limit: str, cores: int | None) -> None:
    unlimited = usable_cores(tmp_path)
    (tmp_path / "cpu.max").write_text(limit)
    assert usable_cores(tmp_path) == min(unlimited, cores or unlimited)


def test_a_quota_of_the_older_kind_counts(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cores(tmp_path) == 1
