"""Growing batch sizes of a device, and page-locked memory for its batches."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from made_up_driver import MadeUpDriver
from numpy.typing import NDArray

from facecli.errors import DeviceFull
from facecli.vision.runtime.providers import CPU, Device
from facecli.vision.runtime.session import Tensor
from facecli.vision.serving import pinned_memory
from facecli.vision.serving.pinned_memory import PageLocked, blank_for
from facecli.vision.serving.pooling import Batching, Member
from facecli.vision.serving.warming import Warming

SIZES = Batching(8, (1, 2, 4, 8))


class Network:
    """A session on a device with limited memory, shared with other sessions."""

    provider = "TestExecutionProvider"
    input = Tensor("in", (None, None))
    outputs = (Tensor("out", (None, 1)),)

    def __init__(self, memory: list[int]) -> None:
        self.memory = memory
        self.largest = 0
        self.shapes: list[tuple[int, ...]] = []

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        more = max(0, feed.size - self.largest)
        if more > self.memory[0]:
            raise DeviceFull("out of memory", "test")
        self.memory[0] -= more
        self.largest += more
        self.shapes.append(feed.shape)
        return [feed]


class Warmed:
    """A device that is warmed up with some networks; waits until each recorded batch is processed."""

    def __init__(self, networks: list[Network], shapes: list[list[tuple[int, ...]]]) -> None:
        self.members = [Member(network, "test:0", SIZES) for network in networks]
        self.warming = Warming(list(zip(self.members, shapes, strict=True)))
        assert [member.most for member in self.members] == [1 for _ in networks], (
            "nothing large is taken before it was tried"
        )
        self.warming.start()

    def fill(self, number: int) -> None:
        """Fill a member's batch, and wait until the device takes more or has shown that it cannot."""
        member = self.members[number]
        before = member.most
        member.note(before)
        deadline = time.monotonic() + 30
        while member.most == before and not member.full and time.monotonic() < deadline:
            time.sleep(0.001)


@pytest.fixture
def warm() -> Iterator[Callable[..., Warmed]]:
    """A function that warms up networks; the threads end with the test."""
    begun: list[Warmed] = []

    def begin(networks: list[Network], shapes: list[list[tuple[int, ...]]]) -> Warmed:
        begun.append(Warmed(networks, shapes))
        return begun[-1]

    yield begin
    for warmed in begun:
        warmed.warming.close()
        assert not warmed.warming.is_alive()


def test_every_shape_is_run_once_in_every_size_that_is_wanted(warm: Callable[..., Warmed]) -> None:
    network = Network([1000])
    warmed = warm([network], [[(4,), (10,)]])
    for _ in range(2):
        warmed.fill(0)
    assert network.shapes == [(size, rows) for size in (1, 2, 4) for rows in (4, 10)]
    warmed.fill(0)
    assert (warmed.members[0].most, warmed.members[0].full) == (8, False)
    warmed.members[0].note(8)
    warmed.warming.close()
    assert len(network.shapes) == 2 * len(SIZES.sizes), "the largest is the end of it"


def test_a_batch_that_is_not_full_asks_for_nothing(warm: Callable[..., Warmed]) -> None:
    network = Network([1000])
    warmed = warm([network], [[(4,)]])
    warmed.fill(0)
    warmed.members[0].note(1)
    warmed.warming.close()
    assert (warmed.members[0].most, network.shapes) == (2, [(1, 4), (2, 4)])


def test_a_network_grows_alone_and_no_further_than_the_memory_goes(warm: Callable[..., Warmed]) -> None:
    memory = [50]
    warmed = warm([Network(memory), Network(memory)], [[(10,)], [(2,)]])
    wide, narrow = warmed.members
    for _ in range(3):
        warmed.fill(0)
    assert (wide.most, wide.full) == (4, True), "eight wide rows do not fit"
    assert (narrow.most, narrow.full) == (1, False), "nobody asked it to grow"
    warmed.fill(1)
    warmed.fill(1)
    warmed.fill(1)
    assert (narrow.most, narrow.full) == (4, True), "nor do eight narrow ones beside four wide ones"


def test_what_has_failed_in_the_work_is_not_tried_again(warm: Callable[..., Warmed]) -> None:
    network = Network([1000])
    warmed = warm([network], [[(4,)]])
    warmed.fill(0)
    warmed.fill(0)
    assert warmed.members[0].take_less(4)
    warmed.members[0].note(2)
    warmed.warming.close()
    assert (warmed.members[0].most, network.shapes) == (2, [(1, 4), (2, 4), (4, 4)])


def test_a_device_that_fails_while_it_warms_up_is_left_to_the_work(warm: Callable[..., Warmed]) -> None:
    class Broken(Network):
        def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
            raise RuntimeError("fell off the bus")

    warmed = warm([Broken([10])], [[(4,)]])
    warmed.members[0].note(1)
    warmed.warming.join(30)
    assert not warmed.warming.is_alive()
    assert warmed.members[0].most == 1


def test_nothing_is_warmed_up_for_a_run_that_is_over() -> None:
    network = Network([1000])
    warming = Warming([(Member(network, "test:0", SIZES), [(4,)])])
    warming.close()
    warming.start()
    warming.join()
    assert network.shapes == []


def test_page_locked_memory_lives_as_long_as_its_last_view() -> None:
    driver = MadeUpDriver()
    array = PageLocked(driver, 1)((3, 4), np.dtype(np.float32))
    assert (array.shape, array.dtype, array.ctypes.data) == ((3, 4), np.float32, next(iter(driver.blocks)))
    assert driver.entered == [71]
    view = array[1:]
    view[:] = 5
    del array
    gc.collect()
    assert view.sum() == 40
    assert driver.blocks
    del view
    gc.collect()
    assert not driver.blocks


def test_where_there_is_no_page_locked_memory_ordinary_memory_serves() -> None:
    array = PageLocked(MadeUpDriver(full=True), 0)((2, 2), np.dtype(np.uint8))
    assert (array.shape, array.dtype) == ((2, 2), np.uint8)


def test_only_devices_of_nvidia_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned_memory, "load_driver", MadeUpDriver)
    assert blank_for(Device("cpu:1", CPU)) is np.empty
    assert isinstance(blank_for(Device("cuda:1", "CUDAExecutionProvider")), PageLocked)
    monkeypatch.setattr(pinned_memory, "load_driver", lambda: None)
    assert blank_for(Device("cuda:1", "CUDAExecutionProvider")) is np.empty
