"""Tests of the times of stages and of the bottleneck of a run."""

from __future__ import annotations

import pytest

from facecli.pipeline import clock as clock_module
from facecli.pipeline.clock import STAGES, StageClock, bottleneck


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
    monkeypatch.setattr(clock_module, "count_processors", lambda: 2)
    clock = StageClock()
    for stage, seconds in busy.items():
        clock.add(stage, busy=seconds)
    assert bottleneck(clock.times(), 40, devices) == bound
