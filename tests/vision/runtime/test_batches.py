"""A network run in batches gives each row's own result, in few sizes, and in smaller ones where memory is short."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.errors import DeviceError, DeviceFull
from facecli.vision.runtime.batches import Batches
from facecli.vision.runtime.session import Tensor


class Summing:
    """A session that sums its rows, with room for some of them; its second output merges rows and anchors."""

    provider = "TestExecutionProvider"
    outputs = (Tensor("sum", (None, 1)), Tensor("anchors", (None, 2)))

    def __init__(self, room: int = 1000, batch: int | None = None) -> None:
        self.input = Tensor("in", (batch, 3))
        self.room, self.sizes = room, list[int]()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        if len(feed) > self.room:
            raise DeviceFull("out of memory", "test")
        self.sizes.append(len(feed))
        return [feed.sum(axis=1, keepdims=True), np.repeat(feed[:, :2], 4, axis=0)]


def run(batches: Batches, rows: int) -> bool:
    """Whether all rows get their results, from a buffer with rubbish after them."""
    feed = np.random.default_rng(rows).random((batches.room_for(rows), 3), np.float32)
    counts, sums, anchors = [], [], []
    for count, (total, merged) in batches.run(feed, rows):
        counts.append(count)
        sums.append(total.copy())
        anchors.append(merged.copy())
    return bool(
        sum(counts) == rows
        and np.array_equal(np.concatenate(sums), feed[:rows].sum(axis=1, keepdims=True))
        and np.array_equal(np.concatenate(anchors), np.repeat(feed[:rows, :2], 4, axis=0))
    )


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("rows", [1, 2, 3, 8, 9, 21, 64])
def test_every_row_gets_its_result(rows: int, *, padded: bool) -> None:
    session = Summing()
    assert run(Batches(session, 8, padded=padded), rows)
    assert max(session.sizes) == (min(8, 1 << (rows - 1).bit_length()) if padded else min(8, rows))
    if padded:
        assert all(size.bit_count() == 1 for size in session.sizes), "powers of two"


def test_the_largest_padded_batch_is_a_power_of_two() -> None:
    assert [Batches(Summing(), most, padded=True).most for most in (1, 2, 7, 48, 64)] == [1, 2, 4, 32, 64]
    assert Batches(Summing(), 48).most == 48
    assert Batches(Summing(batch=1), 48, padded=True).most == 1, "a network for one input at a time"


def test_a_batch_that_does_not_fit_is_halved_and_stays_so() -> None:
    session, told = Summing(room=3), list[int]()
    batches = Batches(session, 16, padded=True)
    batches.note_full = told.append
    assert run(batches, 13)
    assert (told, batches.most) == ([16, 8, 4], 2)
    assert run(batches, 5)
    assert told == [16, 8, 4], "not tried again"
    assert set(session.sizes) == {1, 2}


def test_no_room_for_a_single_row_is_an_error() -> None:
    with pytest.raises(DeviceFull):
        run(Batches(Summing(room=0), 4, padded=True), 3)


def test_a_limit_is_never_raised_and_leaves_one_row() -> None:
    batches = Batches(Summing(), 16, padded=True)
    for limit, expected in ((32, 16), (4, 4), (8, 4), (0, 1)):
        batches.limit(limit)
        assert batches.most == expected


def test_a_session_may_prefer_another_size() -> None:
    session = Summing()
    session.most = 5  # type: ignore[attr-defined]
    assert run(Batches(session, 3), 12)
    assert session.sizes == [5, 5, 2]


def test_whatever_a_driver_raises_is_an_error_of_the_device() -> None:
    session = Summing()

    def lost(_: object) -> list[NDArray[Any]]:
        raise RuntimeError("fell off the bus")

    session.run = lost  # type: ignore[method-assign,assignment]
    with pytest.raises(DeviceError) as caught:
        run(Batches(session, 4), 3)
    assert caught.value.hint == "fell off the bus"


def test_time_in_which_two_threads_run_counts_once() -> None:
    both = threading.Barrier(2)
    session = Summing()
    plain = session.run

    def together(feed: NDArray[Any]) -> list[NDArray[Any]]:
        both.wait(30)
        try:
            return plain(feed)
        finally:
            both.wait(30)

    session.run = together  # type: ignore[method-assign]
    batches = Batches(session, 4)
    with ThreadPoolExecutor(2) as crew:
        assert all(crew.map(lambda rows: run(batches, rows), (3, 4)))
    assert batches.busy_seconds > 0
    assert batches._running == 0
