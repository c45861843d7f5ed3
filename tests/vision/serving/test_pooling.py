"""Several devices behind one session give the same answers, even if some of them fail."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from notes import Notes
from numpy.typing import NDArray

from facecli.errors import DeviceError, DeviceFull
from facecli.vision.runtime.session import Tensor
from facecli.vision.serving.pooling import Batching, Member, PooledSession
from facecli.vision.serving.requests import Request, split
from facecli.vision.serving.roster import Roster


class Device:
    """A session that sums its rows, with given delays and faults."""

    provider = "TestExecutionProvider"
    input = Tensor("in", (None, 3))
    outputs = (Tensor("sum", (None, 1)), Tensor("anchors", (None, 2)))

    def __init__(self, *, pause: float = 0.0, room: int = 1000, fails_after: int | None = None) -> None:
        self.pause, self.room, self.fails_after = pause, room, fails_after
        self.batches: list[int] = []

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        time.sleep(self.pause)
        if len(feed) > self.room:
            raise DeviceFull("out of memory", "test")
        if self.fails_after is not None and len(self.batches) >= self.fails_after:
            raise RuntimeError("fell off the bus")
        self.batches.append(len(feed))
        merged = np.repeat(feed[:, :2], 4, axis=0)
        return [feed.sum(axis=1, keepdims=True), merged]


def ask(pool: PooledSession, rows: int, seed: int) -> bool:
    """Whether the pool gives the same answer as a single device."""
    feed = np.random.default_rng(seed).random((rows, 3), np.float32)
    summed, merged = pool.run(feed)
    return bool(
        np.array_equal(summed, feed.sum(axis=1, keepdims=True))
        and np.array_equal(merged, np.repeat(feed[:, :2], 4, axis=0))
    )


def ask_many(pool: PooledSession, requests: int = 200, threads: int = 16) -> list[bool]:
    with ThreadPoolExecutor(threads) as crowd:
        return list(crowd.map(lambda i: ask(pool, 1 + i % 5, i), range(requests)))


def pool_of(
    *devices: Device, most: int = 8, sizes: tuple[int, ...] = (), threads: int = 1, notes: Notes | None = None
) -> PooledSession:
    batching = Batching(most, sizes, threads=threads)
    names = [f"test:{i}" for i in range(len(devices))]
    return PooledSession(
        [Member(d, n, batching) for d, n in zip(devices, names, strict=True)], batching, Roster(names, notes or Notes())
    )


@pytest.mark.parametrize("sizes", [(), (1, 4, 8)])
def test_requests_of_many_threads_share_batches(sizes: tuple[int, ...]) -> None:
    device = Device(pause=0.002)
    pool = pool_of(device, sizes=sizes)
    assert all(ask_many(pool))
    pool.close()
    assert max(device.batches) > 5, "more than one request a batch"
    assert max(device.batches) <= 8
    if sizes:
        assert set(device.batches) <= set(sizes)


def test_a_feed_larger_than_a_batch_is_parted() -> None:
    device = Device()
    pool = pool_of(device)
    assert ask(pool, 21, 0)
    pool.close()
    assert sorted(device.batches) == [5, 8, 8]


def test_the_faster_device_does_more() -> None:
    fast, slow = Device(pause=0.001), Device(pause=0.02)
    pool = pool_of(fast, slow)
    assert all(ask_many(pool))
    pool.close()
    assert sum(fast.batches) > 2 * sum(slow.batches) > 0


def test_a_device_without_memory_takes_less() -> None:
    notes, device = Notes(), Device(room=2, pause=0.001)
    pool = pool_of(device, notes=notes)
    assert all(ask_many(pool, 60))
    pool.close()
    assert max(device.batches) <= 2
    assert any("has not the memory" in w for w in notes.warnings)


def test_a_device_that_fails_is_left_out_and_its_batch_is_done_by_the_others() -> None:
    notes, good, bad = Notes(), Device(pause=0.001), Device(pause=0.001, fails_after=3)
    pool = pool_of(good, bad, notes=notes)
    assert all(ask_many(pool))
    pool.close()
    assert len(bad.batches) == 3
    assert notes.warnings == ["test:1 failed and is left out; its batch is done by the other: fell off the bus"]


def test_a_device_that_fails_for_one_network_is_left_out_by_the_other_and_named_once() -> None:
    notes, batching, names = Notes(), Batching(8, threads=2), ["test:0", "test:1"]
    roster, good, bad, idle = Roster(names, notes), Device(pause=0.001), Device(pause=0.001), Device(fails_after=0)
    detector = PooledSession([Member(good, names[0], batching), Member(idle, names[1], batching)], batching, roster)
    recogniser = PooledSession([Member(good, names[0], batching), Member(bad, names[1], batching)], batching, roster)
    assert all(ask_many(detector, 40))
    assert roster.has_lost("test:1")
    bad.batches.clear()
    assert all(ask_many(recogniser))
    assert bad.batches == []
    assert len(notes.warnings) == 1
    detector.close()
    recogniser.close()


def test_two_threads_of_a_device_share_what_it_can_take() -> None:
    notes, device = Notes(), Device(room=3, pause=0.001)
    pool = pool_of(device, sizes=(1, 2, 4, 8), threads=2, notes=notes)
    assert all(ask_many(pool, 100))
    pool.close()
    assert set(device.batches) <= {1, 2}
    assert len(notes.warnings) <= 2, "eight is halved, then four"
    assert notes.warnings[-1] == "test:0 has not the memory for a batch of that size; going on with 2 at once"


def test_a_device_with_room_for_one_run_at_a_time_is_served_by_one_thread() -> None:
    class Narrow(Device):
        running = 0

        def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
            self.running += 1
            try:
                time.sleep(0.002)
                if self.running > 1:
                    raise DeviceFull("out of memory", "test")
                return super().run(feed)
            finally:
                self.running -= 1

    notes, device = Notes(), Narrow()
    pool = pool_of(device, most=1, threads=2, notes=notes)
    assert all(ask_many(pool, 60))
    pool.close()
    assert notes.warnings == []


def test_time_in_use_counts_once_for_all_threads_of_a_device() -> None:
    device = Device(pause=0.01)
    pool = pool_of(device, most=1, threads=2)
    began = time.perf_counter()
    assert all(ask_many(pool, 20))
    elapsed = time.perf_counter() - began
    pool.close()
    assert 0 < pool.busy_seconds <= elapsed


@pytest.mark.parametrize("threads", [1, 2])
def test_when_no_device_is_left_everyone_is_told(threads: int) -> None:
    notes = Notes()
    pool = pool_of(Device(fails_after=2, pause=0.001), Device(room=0), threads=threads, notes=notes)
    with pytest.raises(
        DeviceError, match=r"the device failed \((fell off the bus|out of memory)\): test:[01]"
    ) as caught:
        ask_many(pool)
    assert "goes on from there" in caught.value.hint
    with pytest.raises(DeviceError):
        pool.run(np.ones((1, 3), np.float32))
    assert sum("is left out" in w for w in notes.warnings) == 1


def test_an_answer_that_cannot_be_shared_out_costs_the_device() -> None:
    class Odd(Device):
        def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
            return [np.float32(1.0)]  # type: ignore[list-item]

    with pytest.raises(DeviceError, match="the device failed"):
        pool_of(Odd()).run(np.ones((1, 3), np.float32))


def test_shapes_do_not_mix() -> None:
    pool = pool_of(Device(pause=0.002))
    wide = np.ones((2, 3), np.float32)
    with ThreadPoolExecutor(8) as crowd:
        sums = list(crowd.map(lambda i: pool.run(np.full((1, 3 + i % 2), i, np.float32))[0][0, 0], range(40)))
    pool.close()
    assert sums == [i * (3 + i % 2) for i in range(40)]
    assert wide.sum() == 6


def test_no_thread_is_left() -> None:
    pool = pool_of(Device(), Device())
    assert ask(pool, 2, 1)
    pool.close()
    deadline = time.monotonic() + 5
    while any(t.name.startswith("device-test") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not [t.name for t in threading.enumerate() if t.name.startswith("device-test")]


class BrokenNotes(Notes):
    """A reporter that cannot write."""

    def warn(self, message: str) -> None:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "device", [Device(room=0), Device(room=2), Device(fails_after=0)], ids=["no memory", "little memory", "broken"]
)
def test_whoever_waits_is_answered_whatever_becomes_of_the_thread_that_serves(device: Device) -> None:
    pool = pool_of(device, Device(fails_after=0), notes=BrokenNotes())
    answers: list[BaseException] = []

    def asking(seed: int) -> None:
        try:
            ask(pool, 4, seed)
        except (OSError, DeviceError) as error:
            answers.append(error)

    crowd = [threading.Thread(target=asking, args=(seed,), daemon=True) for seed in range(8)]
    for thread in crowd:
        thread.start()
    for thread in crowd:
        thread.join(10)
    pool.close()
    assert len(answers) == 8


def test_pieces_that_cannot_be_put_together_are_an_error_of_the_whole() -> None:
    whole = Request(np.zeros((2, 3), np.float32))
    for number, piece in enumerate(split([whole])):
        piece.answer.set_result([np.zeros((1, 1 + number))])
    with pytest.raises(ValueError, match="dimension"):
        whole.answer.result(10)
