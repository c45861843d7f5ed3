"""How a device grows into its batches, and the page-locked memory that they are gathered in."""

from __future__ import annotations

import ctypes
import gc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from facecli.errors import DeviceError, DeviceFull
from facecli.vision import pinned
from facecli.vision.pinned import PageLocked, blank_for
from facecli.vision.pooling import Batching, Member
from facecli.vision.providers import CPU, Device
from facecli.vision.session import Tensor
from facecli.vision.warming import Warming

SIZES = Batching(8, (1, 2, 4, 8))


class Network:
    """A session that has room for some bytes, its own and those of others on the device."""

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


def warmed(networks: list[Network], shapes: list[list[tuple[int, ...]]]) -> list[Member]:
    members = [Member(network, "test:0", SIZES) for network in networks]
    warming = Warming(list(zip(members, shapes, strict=True)))
    assert [member.most for member in members] == [1 for _ in members], "nothing large is taken before it was tried"
    warming.start()
    warming.join()
    return members


def test_every_shape_is_run_once_in_every_size() -> None:
    network = Network([1000])
    member = warmed([network], [[(4,), (10,)]])[0]
    assert network.shapes == [(size, rows) for size in SIZES.sizes for rows in (4, 10)]
    assert (member.most, member.full) == (8, False)


def test_networks_grow_together_so_that_none_takes_what_another_needs_to_run_at_all() -> None:
    memory = [50]
    wide, narrow = warmed([Network(memory), Network(memory)], [[(10,)], [(2,)]])
    assert (wide.most, wide.full) == (4, True), "eight wide rows do not fit"
    assert (narrow.most, narrow.full) == (4, True), "nor eight narrow ones beside four wide ones"


def test_a_batch_that_failed_meanwhile_is_not_tried_again() -> None:
    network = Network([1000])
    member = Member(network, "test:0", SIZES)
    warming = Warming([(member, [(4,)])])
    assert not member.take_less(2), "from one row on there is nothing to take less of"
    warming.start()
    warming.join()
    assert (member.most, network.shapes) == (1, [])


def test_a_device_that_fails_while_it_warms_up_is_left_to_the_work() -> None:
    class Broken(Network):
        def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
            raise DeviceError("the network failed", "test")

    assert [member.most for member in warmed([Broken([10])], [[(4,)]])] == [1]


def test_nothing_is_warmed_up_for_a_run_that_is_over() -> None:
    network = Network([1000])
    warming = Warming([(Member(network, "test:0", SIZES), [(4,)])], lambda: True)
    warming.start()
    warming.join()
    assert network.shapes == []


class FakeDriver:
    """A driver whose page-locked memory is ordinary memory."""

    def __init__(self, *, full: bool = False) -> None:
        self.blocks: dict[int, ctypes.Array[ctypes.c_char]] = {}
        self.entered: list[int | None] = []
        self.full = full

    def cuDeviceGet(self, device: Any, number: int) -> int:  # noqa: N802 (the driver's name)
        device._obj.value = 70 + number
        return 0

    def cuDevicePrimaryCtxRetain(self, context: Any, device: ctypes.c_int) -> int:  # noqa: N802 (as above)
        context._obj.value = device.value
        return 0

    def cuCtxSetCurrent(self, context: ctypes.c_void_p) -> int:  # noqa: N802 (as above)
        self.entered.append(context.value)
        return 0

    def cuMemHostAlloc(self, address: Any, size: ctypes.c_size_t, flags: int) -> int:  # noqa: N802 (as above)
        if self.full or flags != pinned.PORTABLE:
            return 2
        block = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(block)
        self.blocks[ctypes.addressof(block)] = block
        return 0

    def cuMemFreeHost(self, address: ctypes.c_void_p) -> int:  # noqa: N802 (as above)
        assert address.value is not None
        del self.blocks[address.value]
        return 0


def test_page_locked_memory_lives_as_long_as_its_last_view() -> None:
    driver = FakeDriver()
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
    array = PageLocked(FakeDriver(full=True), 0)((2, 2), np.dtype(np.uint8))
    assert (array.shape, array.dtype) == ((2, 2), np.uint8)


def test_only_devices_of_nvidia_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pinned, "load_driver", FakeDriver)
    assert blank_for(Device("cpu:1", CPU)) is np.empty
    assert isinstance(blank_for(Device("cuda:1", "CUDAExecutionProvider")), PageLocked)
    monkeypatch.setattr(pinned, "load_driver", lambda: None)
    assert blank_for(Device("cuda:1", "CUDAExecutionProvider")) is np.empty
