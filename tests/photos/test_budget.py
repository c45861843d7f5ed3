"""Tests of the memory budget: it is shared, served in order, and never deadlocks."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from picture_files import saved, scene

from facecli.config import ReadOptions
from facecli.photos import budget as module
from facecli.photos.budget import PixelBudget, Share, default_budget
from facecli.photos.decode import PhotoReader
from facecli.types import FileContents, PhotoFile


def test_take_and_give() -> None:
    budget = Share(100)
    assert budget.take(60) == 60
    assert budget.take(40) == 40
    budget.give(60)
    assert budget.take(50) == 50


def test_more_than_there_is_takes_the_whole() -> None:
    budget = Share(100)
    assert budget.take(1000) == 100


def run(*threads: threading.Thread) -> None:
    for thread in threads:
        thread.start()


def wait_until_waiting(budget: Share, count: int) -> None:
    while budget.waiting != count:
        threading.Event().wait(0.001)


def test_a_large_request_is_not_passed_by_small_ones() -> None:
    budget = Share(100)
    budget.take(50)
    order: list[int] = []

    def take(size: int) -> None:
        taken = budget.take(size)
        order.append(size)
        budget.give(taken)

    large, small = threading.Thread(target=take, args=(100,)), threading.Thread(target=take, args=(10,))
    run(large)
    wait_until_waiting(budget, 1)
    run(small)
    wait_until_waiting(budget, 2)
    assert order == []
    budget.give(50)
    large.join()
    small.join()
    assert order == [100, 10]


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_never_over_the_total_and_never_stuck(workers: int) -> None:
    budget, lock = Share(1000), threading.Lock()
    held, most = 0, 0

    def work(seed: int) -> None:
        nonlocal held, most
        dice = random.Random(seed)
        for _ in range(200):
            taken = budget.take(dice.choice((1, 10, 300, 999, 5000)))
            with lock:
                held += taken
                most = max(most, held)
            with lock:
                held -= taken
            budget.give(taken)

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(workers)]
    run(*threads)
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    assert most <= 1000
    assert budget.take(1000) == 1000


def test_the_default_is_a_part_of_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 0 < default_budget().total <= 2_000_000_000
    monkeypatch.setattr(module, "usable_memory", lambda: 400_000_000)
    assert default_budget().total == 100_000_000


@pytest.mark.parametrize("total", [1, 50_000, 10_000_000])
def test_readers_that_share_a_budget_all_end(tmp_path: Path, total: int) -> None:
    budget, done = PixelBudget(total), []
    for number, size in enumerate(((96, 64), (640, 480), (1600, 1200))):
        (tmp_path / f"{number}.jpg").write_bytes(saved(scene(*size), "JPEG"))
    (tmp_path / "text.jpg").write_bytes(b"no image")

    def work() -> None:
        reader = PhotoReader(ReadOptions(), budget)
        for path in [*tmp_path.iterdir()] * 3:
            contents = reader.read(PhotoFile(str(path), 0, 0))
            if isinstance(contents, FileContents):
                reader.decode(contents)
            reader.release()
        done.append(1)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(6)]
    run(*threads)
    for thread in threads:
        thread.join(timeout=120)
    assert len(done) == 6
    assert budget.waiting == 0
    assert (budget.files.take(total), budget.pixels.take(total)) == (budget.files.total, budget.pixels.total)
