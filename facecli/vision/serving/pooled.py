"""Run a pack's networks on devices that need batches: many threads, one photo each, share the devices' batches.

The workers are the same as on the CPU, but there are more of them than cores: one that waits for the device keeps its
photo and uses no processor. So batches fill up without a separate stage that collects photos.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from facecli.config import DetectionOptions, Precision
from facecli.errors import DeviceError
from facecli.reporting import Reporter
from facecli.vision.detection.network import FaceNetwork
from facecli.vision.models import FaceModels, detector_side, open_from, open_models
from facecli.vision.optimization.half_precision import HalfSession
from facecli.vision.optimization.optimized import open_detector, open_recogniser
from facecli.vision.packs.resolve import ModelFile, ModelPack
from facecli.vision.recognition.alignment import CROP
from facecli.vision.runtime.cuda import GPU_KINDS, read_gpu
from facecli.vision.runtime.providers import CPU, Device
from facecli.vision.runtime.session import OnnxSession, Session
from facecli.vision.serving.capacity import largest_batches, row_bytes
from facecli.vision.serving.io_binding import BoundSession
from facecli.vision.serving.pinned_memory import blank_for
from facecli.vision.serving.pooling import Batching, Member, PooledSession
from facecli.vision.serving.roster import Roster
from facecli.vision.serving.warming import Warming

SERVING_THREADS = 2
"""Threads per device: one assembles and copies a batch while the device computes the other's."""
COLOURS = 3
Opened = TypeVar("Opened")


class Pooling(Struct, frozen=True):
    """How the devices of a run are used."""

    report: Reporter
    batch_size: int = 64
    """Rows of the largest batch."""


class PooledModels(FaceModels, frozen=True, eq=False):
    """Models on devices with their own threads."""

    pool: DevicePool

    def close(self) -> None:
        self.pool.close()

    def device_seconds(self) -> dict[str, float]:
        return self.pool.seconds()


def open_models_on(
    pack: ModelPack, devices: Sequence[Device], detection: DetectionOptions, precision: Precision, pooling: Pooling
) -> FaceModels:
    """Open both networks of `pack` on every device; a single CPU runs them in the caller's threads, without a queue."""
    if not devices_apart(devices):
        return open_models(pack, devices[0], detection, precision, pooling.report)
    pool = DevicePool(devices, pooling, precision)
    try:
        models = open_from(pool, pack, detection)
    except BaseException:
        pool.close()
        raise
    if precision is Precision.FAST and not pool.in_half:
        pooling.report.detail(
            f"fast precision has no effect on {joint_name(devices)}: the networks run in single precision"
        )
    sides = {detector_side(pack, detection)} | (
        {detection.small_scale} if detection.small_scale and pack.detector.input_size is None else set()
    )
    pool.fit_memory(pack, max(sides))
    pool.warm_up(
        {"detect": [(COLOURS, side, side) for side in sorted(sides, reverse=True)], "embed": [(COLOURS, CROP, CROP)]}
    )
    return PooledModels(models.pack, models.device, models.detector, models.embedder, pool)


def devices_apart(devices: Sequence[Device]) -> int:
    """The number of devices with their own threads; 0 for a single CPU, which works in the caller's threads."""
    return 0 if len(devices) == 1 and devices[0].provider == CPU else len(devices)


def batching_for(device: Device, batch_size: int) -> Batching:
    """Batching for a kind of device.

    On a CPU larger batches are not faster, and the last bits of an embedding depend on the batch size: so requests are
    not joined, and results are the same as without a queue. Other devices are tuned for each batch size (seconds on
    some), so they use few sizes: the powers of two.
    """
    if device.provider == CPU:
        return Batching(batch_size, joins=False)
    sizes = [1]
    while 2 * sizes[-1] <= batch_size:
        sizes.append(2 * sizes[-1])
    return Batching(sizes[-1], tuple(sizes), threads=SERVING_THREADS)


def joint_name(devices: Sequence[Device]) -> str:
    """The name of all devices together: cuda:0,1."""
    first = devices[0]
    return first.name if len(devices) == 1 else f"{first.kind}:{','.join(str(device.number) for device in devices)}"


class DevicePool:
    """A source of networks that run on several devices as if these were one."""

    def __init__(self, devices: Sequence[Device], pooling: Pooling, precision: Precision = Precision.EXACT) -> None:
        self.devices, self.pooling, self.precision, self.report = devices, pooling, precision, pooling.report
        self.roster = Roster([device.name for device in devices], pooling.report)
        self.sessions: dict[str, PooledSession] = {}
        """The sessions by stage."""
        self.in_half: set[str] = set()
        """The names of the devices whose recogniser computes in half precision."""
        self.warmings: list[Warming] = []

    @property
    def device(self) -> Device:
        return replace(self.devices[0], name=joint_name(self.devices))

    def open_detector(self, file: ModelFile) -> FaceNetwork:
        networks = self._on_each(lambda device: open_detector(file, device, self.pooling.report))
        return networks[0].over(self._pool("detect", [network.session for network in networks]))

    def open_recogniser(self, file: ModelFile) -> Session:
        sessions = self._on_each(lambda device: open_recogniser(file, device, self.pooling.report, self.precision))
        self.in_half = {
            device.name
            for device, session in zip(self.devices, sessions, strict=True)
            if isinstance(session, HalfSession)
        }
        return self._pool("embed", sessions)

    def _on_each(self, action: Callable[[Device], Opened]) -> list[Opened]:
        """Open on the first device, then on all others in parallel: they use what the first one left in the cache."""
        first = action(self.devices[0])
        with ThreadPoolExecutor(max(1, len(self.devices) - 1)) as others:
            return [first, *others.map(action, self.devices[1:])]

    def _pool(self, stage: str, sessions: Sequence[Session]) -> PooledSession:
        """One session for those of the devices, which must all give the same outputs."""
        batching = batching_for(self.devices[0], self.pooling.batch_size)
        if sessions[0].input.shape[0] is not None:
            batching = replace(batching, most=1, sizes=batching.sizes[:1])
        members = [
            self._member(session, device, batching) for session, device in zip(sessions, self.devices, strict=True)
        ]
        if any(session.outputs != sessions[0].outputs for session in sessions):
            raise DeviceError(
                "the devices run different forms of a network",
                joint_name(self.devices),
                hint="name one of them with --device",
            )
        self.sessions[stage] = PooledSession(members, batching, self.roster)
        return self.sessions[stage]

    def _member(self, session: Session, device: Device, batching: Batching) -> Member:
        """A device's share in a network, its buffers where the device reads them best."""
        blank = blank_for(device)
        if blank is not np.empty and isinstance(session, OnnxSession):
            session = BoundSession(session, blank, f"gpu:{device.number}")
        return Member(session, device.name, batching, blank)

    def fit_memory(self, pack: ModelPack, side: int) -> None:
        """Limit batches to the free memory of each GPU, if known; `side` is that of the detector's input."""
        for number, device in enumerate(self.devices):
            gpu = read_gpu(device.number) if device.kind in GPU_KINDS else None
            if gpu is None:
                continue
            members = {stage: session.members[number] for stage, session in self.sessions.items()}
            wanted = {stage: member.most for stage, member in members.items()}
            row = row_bytes(pack, side, half=device.name in self.in_half)
            most = largest_batches(gpu.memory_free, row, wanted, SERVING_THREADS)
            for stage, member in members.items():
                member.take_at_most(most[stage])
            self.pooling.report.detail(
                f"{device.name}: {gpu.memory}, so at most {most['detect']} photos and {most['embed']} faces at once"
            )

    def warm_up(self, shapes: dict[str, list[tuple[int, ...]]]) -> None:
        """Run each batch size once on each device before it is used, in parallel with the work."""
        if not self.sessions["detect"].members[0].sizes:
            return
        for number in range(len(self.devices)):
            networks = [(self.sessions[stage].members[number], shapes[stage]) for stage in shapes]
            self.warmings.append(Warming(networks))
            self.warmings[-1].start()

    def seconds(self) -> dict[str, float]:
        """Seconds in which the devices were busy, by stage."""
        return {stage: session.busy_seconds for stage, session in self.sessions.items()}

    def close(self) -> None:
        """End the threads of the devices."""
        for warming in self.warmings:
            warming.close()
        for session in self.sessions.values():
            session.close()
