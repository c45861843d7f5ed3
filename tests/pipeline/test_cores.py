"""Tests of the number of workers."""

from __future__ import annotations

import pytest

from facecli.pipeline import cores
from facecli.pipeline.cores import count_workers


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "count_processors", lambda: 4)


def test_a_processor_has_a_worker_for_each_core() -> None:
    assert count_workers(0, 64, 2_000_000_000) == 4


def test_devices_have_as_many_more_as_a_batch_and_the_memory_allow() -> None:
    assert count_workers(1, 64, 2_000_000_000) == 4 + 31
    assert count_workers(2, 16, 2_000_000_000) == 4 + 16
    assert count_workers(1, 64, 10_000_000) == 4
