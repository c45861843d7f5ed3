"""A head that has been silent for most of the time that Ray gives it ends the run; one that comes back does not."""

from __future__ import annotations

import socket

import pytest

from facecli.errors import WorkerError
from facecli.fleet import ray_head
from facecli.fleet.ray_head import PATIENCE_SETTING, Head


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(ray_head, "time", clock)
    monkeypatch.delenv(PATIENCE_SETTING, raising=False)
    return clock


@pytest.mark.parametrize(("setting", "patience"), [("", 45), ("200", 150), ("many", 45)])
def test_a_head_that_is_gone_ends_the_run_before_ray_does(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, setting: str, patience: int
) -> None:
    if setting:
        monkeypatch.setenv(PATIENCE_SETTING, setting)
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = f"127.0.0.1:{server.getsockname()[1]}"
        head = Head(place)
        head.ask()
    for seconds in (5, patience):
        clock.now += seconds
        head.ask()
    clock.now += 5
    with pytest.raises(WorkerError, match=f"the head of the Ray cluster does not answer any more: {place}") as caught:
        head.ask()
    assert "the same command goes on" in caught.value.hint


def test_a_head_that_comes_back_is_heard(clock: Clock) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
        head = Head(f"127.0.0.1:{number}")
    for _ in range(8):
        clock.now += 5
        head.ask()
    with socket.create_server(("127.0.0.1", number)):
        clock.now += 5
        head.ask()
        assert head.answers()
    for _ in range(8):
        clock.now += 5
        head.ask()
    assert not head.answers()
