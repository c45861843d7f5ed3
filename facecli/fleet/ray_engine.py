"""The engine on a Ray cluster: its workers are actors.

Ray's own retries and restarts are not used, since the driver decides what is done again.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from facecli.config import FleetOptions
from facecli.errors import WorkerError
from facecli.fleet.crew import SHOWN
from facecli.fleet.engine import Event, Failure, failure_of
from facecli.fleet.process import RemoteWorkerOnRequest, decode_reply
from facecli.fleet.ray_cluster import Cluster, Machine, is_own
from facecli.fleet.ray_head import KEPT
from facecli.pipeline.messages import Hello, PhotoChunk, Spec, Trouble
from facecli.reporting import Reporter

AT_ONCE = 3
"""Calls that an actor serves at once: two chunks and `finish`."""
CORES_OF_A_WORKER = 4
"""Processors of a worker without a GPU, where a machine has more; see CORES_OF_A_PROCESS."""
STARTING_SECONDS = 60.0


class Reservation(Struct, frozen=True):
    """What Ray reserves for one worker."""

    cpus: int
    gpus: float = 0.0


def plan_workers(machines: Sequence[Machine], options: FleetOptions) -> list[Reservation]:
    """What is reserved for each worker: a GPU each with its share of the processors, else some processors.

    Those with GPUs come first, then the larger ones. With a named number of workers the list is repeated or cut to it.
    """
    reservations = [reservation for machine in machines for reservation in _reservations_of(machine, options)]
    reservations.sort(key=lambda reservation: (-reservation.gpus, -reservation.cpus))
    if not reservations:
        hint = "`ray status` shows it; --workers N asks a cluster that grows on demand for N of them"
        raise WorkerError("the cluster has no processors for workers", options.address, hint=hint)
    return [reservations[n % len(reservations)] for n in range(_wanted(options) or len(reservations))]


def plan_once_joined(cluster: Cluster, options: FleetOptions) -> list[Reservation]:
    """Plan the workers as soon as a machine has room for one; a cluster that has just been started may have none.

    A named number of workers is asked for all the same: a cluster that grows on demand starts machines for them.
    """
    deadline = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            return plan_workers(cluster.machines(), options)
        except WorkerError:
            if time.monotonic() > deadline:
                if not options.workers:
                    raise
                return [Reservation(options.worker_cpus or 1, options.worker_gpus or 0.0)] * options.workers
        time.sleep(1)


def _wanted(options: FleetOptions) -> int:
    named = options.address.partition(":")[2] if is_own(options.address) else ""
    return options.workers or int(named or 0)


def _reservations_of(machine: Machine, options: FleetOptions) -> list[Reservation]:
    gpus = (1.0 if machine.gpus else 0.0) if options.worker_gpus is None else options.worker_gpus
    if gpus:
        count = int(machine.gpus / gpus)
        return [Reservation(options.worker_cpus or max(1, machine.cpus // max(1, count)), gpus)] * count
    wanted = _wanted(options) if is_own(options.address) else 0
    count = wanted or max(1, machine.cpus // CORES_OF_A_WORKER)
    cpus = options.worker_cpus or max(1, machine.cpus // count)
    return [Reservation(cpus)] * (machine.cpus // cpus)


class RayEngine:
    """Workers that are actors."""

    name = "ray"

    def __init__(self, options: FleetOptions, spec: Spec, beginnings: bytes, reporter: Reporter) -> None:
        """Join or start the cluster; raises UsageError or WorkerError."""
        self._address, self._cluster = options.address, Cluster(options.address)
        self._ray = self._cluster.ray
        try:
            self._reservations = plan_once_joined(self._cluster, options)
        except WorkerError:
            self._cluster.close()
            raise
        self.most = len(self._reservations)
        self._spec, self._reporter = spec, reporter
        self._known = self._ray.put(np.frombuffer(beginnings, np.uint8)) if beginnings else b""
        self._actors: dict[int, Any] = {}
        self._awaited: dict[Any, tuple[int, int]] = {}
        """The worker and the chunk of each answer to come; chunk -1 for a Hello."""
        self._numbers = itertools.count()
        self._began = time.monotonic()
        self._has_waited = False

    def begin(self) -> int:
        number = next(self._numbers)
        reservation = self._reservations[number % len(self._reservations)]
        actor = self._ray.remote(RemoteWorkerOnRequest).options(
            num_cpus=reservation.cpus,
            num_gpus=reservation.gpus,
            max_restarts=0,
            max_task_retries=0,
            max_concurrency=AT_ONCE,
        )
        self._actors[number] = actor.remote(msgspec.msgpack.encode(self._spec_of(reservation)), self._known)
        self._awaited[self._actors[number].hello.remote()] = number, -1
        return number

    def _spec_of(self, reservation: Reservation) -> Spec:
        """What a worker must be: Ray shows it only the GPUs that are its own."""
        device = self._spec.device
        if device == "auto":
            device = "auto" if reservation.gpus else "cpu"
        return replace(self._spec, device=device, jobs=self._spec.jobs or reservation.cpus)

    def send(self, worker: int, chunk: PhotoChunk) -> None:
        reference = self._actors[worker].do.remote(msgspec.msgpack.encode(chunk))
        self._awaited[reference] = worker, chunk.number

    def finish(self) -> None:
        for actor in self._actors.values():
            actor.finish.remote()

    def drop(self, worker: int) -> None:
        actor = self._actors.pop(worker, None)
        self._awaited = {reference: held for reference, held in self._awaited.items() if held[0] != worker}
        if actor is not None and self._cluster.head.answers():  # else it would wait for an answer
            with contextlib.suppress(Exception):
                self._ray.kill(actor, no_restart=True)

    def wait(self, seconds: float) -> list[Event]:
        self._cluster.head.ask()
        self._warn_if_none_starts()
        if not self._awaited:
            time.sleep(seconds)
            return []
        with self._explained():
            ready, _ = self._ray.wait(list(self._awaited), num_returns=1, timeout=seconds)
            if ready:
                ready, _ = self._ray.wait(list(self._awaited), num_returns=len(self._awaited), timeout=0)
        return [self._take(reference) for reference in ready]

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the errors of a connection to a node that has died into a WorkerError."""
        try:
            yield
        except (OSError, self._ray.exceptions.RaySystemError) as error:
            said = getattr(error, "strerror", None) or error
            raise WorkerError(f"Ray on this machine has ended ({said})", self._address, hint=KEPT) from error

    def _take(self, reference: Any) -> Event:
        """What a worker has said, or that it is lost."""
        number, chunk = self._awaited.pop(reference)
        try:
            reply = decode_reply(self._ray.get(reference))
        except self._ray.exceptions.RayTaskError as error:
            return number, Failure(error, chunk, gone=chunk < 0)
        except (self._ray.exceptions.RayError, msgspec.DecodeError) as error:
            return number, Failure(why_lost(error), chunk)
        if isinstance(reply, Hello):
            self._has_waited = True
        if isinstance(reply, Trouble):
            return number, replace(failure_of(reply), gone=chunk < 0)
        return number, reply

    def _warn_if_none_starts(self) -> None:
        if not self._has_waited and time.monotonic() - self._began > STARTING_SECONDS:
            self._has_waited = True
            self._reporter.warn("no worker has started yet; `ray status` shows what the cluster lacks")

    def close(self) -> None:
        for number in list(self._actors):
            self.drop(number)
        self._cluster.close()


def why_lost(error: Exception) -> Exception:
    """Why a worker is lost; a WorkerError where its machine cannot even load it, as without facecli."""
    lines = _lines_of(error)
    if not getattr(error, "actor_init_failed", False):
        return RuntimeError(lines[0])
    place = re.search(r"\bip=([^,\s]+)", str(error))
    return WorkerError(f"a worker cannot begin ({lines[-1]})", place[1] if place else "", hint=SHOWN)


def _lines_of(error: Exception) -> list[str]:
    """What an error says, at least its kind."""
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]


class Checkup(Struct, frozen=True):
    """What a worker says of its machine, or why there is none."""

    machine: str
    cpus: int
    gpus: int
    hello: Hello | None = None
    trouble: str = ""


def check_machines(options: FleetOptions, make_spec: Callable[[], Spec]) -> list[Checkup]:
    """Start a worker on each machine of a cluster for a moment, and let it describe itself."""
    cluster = Cluster(options.address)
    try:
        spec = make_spec()
        asked = [(machine, _ask(cluster.ray, machine, spec, options)) for machine in cluster.machines()]
        return [_checkup(cluster.ray, machine, answer) for machine, answer in asked if machine.cpus or machine.gpus]
    finally:
        cluster.close()


def _ask(ray: Any, machine: Machine, spec: Spec, options: FleetOptions) -> Any:
    gpus = min(1, machine.gpus) if options.worker_gpus is None else options.worker_gpus
    device = spec.device if gpus or spec.device != "auto" else "cpu"
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(machine.node, soft=False)
    actor = ray.remote(RemoteWorkerOnRequest).options(num_cpus=0, num_gpus=gpus, scheduling_strategy=strategy)
    return actor.remote(msgspec.msgpack.encode(replace(spec, device=device, jobs=1))).hello.remote()


def _checkup(ray: Any, machine: Machine, answer: Any) -> Checkup:
    described = Checkup(machine.name, machine.cpus, machine.gpus)
    try:
        reply = decode_reply(ray.get(answer, timeout=STARTING_SECONDS))
    except ray.exceptions.RayError as error:
        return replace(described, trouble=_lines_of(error)[-1])
    if isinstance(reply, Trouble):
        return replace(described, trouble=str(failure_of(reply).error))
    assert isinstance(reply, Hello)
    return replace(described, hello=reply)
