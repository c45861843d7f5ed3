"""What each machine of a Ray cluster has for a run over an index: `facecli doctor --fleet`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from facecli import __version__
from facecli.config import FleetOptions, IndexOptions, ReadOptions
from facecli.fleet.ray_engine import Checkup, check_machines
from facecli.indexing.engines import make_spec
from facecli.indexing.request import settle
from facecli.store.locate import is_index
from facecli.store.reader import open_reader
from facecli.store.records import EmbeddingKind


class MachineHealth(Struct, frozen=True):
    """A machine of a cluster, as a worker on it sees it."""

    machine: str
    cpus: int
    gpus: int
    facecli: str = ""
    """Its version of facecli; empty if no worker starts there."""
    device: str = ""
    readers: tuple[str, ...] = ()
    """The optional packages with which it reads more photo formats."""
    unseen: tuple[str, ...] = ()
    """The directories of the index that it does not see."""
    trouble: str = ""
    """Why it cannot work for this run; empty if it can."""


class FleetHealth(Struct, frozen=True):
    """The report of `facecli doctor --fleet`."""

    fleet: str
    roots: tuple[str, ...]
    """The directories of the index that exist on this machine."""
    machines: tuple[MachineHealth, ...]

    @property
    def healthy(self) -> bool:
        """Whether every machine can work for a run."""
        return bool(self.machines) and not any(machine.trouble for machine in self.machines)


def check_fleet(options: FleetOptions, directory: str, model: str | None = None) -> FleetHealth:
    """Start a worker on each machine for the index in `directory`, or for a new one if there is none.

    Raises UsageError and WorkerError if the cluster cannot be used, IndexMismatch if the index has another pack than
    `model`, and PackError if this machine lacks the models.
    """
    kind, roots = _wanted(directory, IndexOptions(model=model))
    checked = check_machines(options, lambda: make_spec(kind, roots, ReadOptions()))
    return FleetHealth(options.address, tuple(roots), tuple(map(_describe, checked)))


def _wanted(directory: str, options: IndexOptions) -> tuple[EmbeddingKind, Sequence[str]]:
    if not is_index(Path(directory)):
        return settle(options, None).kind, ()
    with open_reader(Path(directory)) as store:
        return settle(options, store.info).kind, [root for root in store.roots() if os.path.isdir(root)]


def _describe(found: Checkup) -> MachineHealth:
    hello = found.hello
    if hello is None:
        return MachineHealth(found.machine, found.cpus, found.gpus, trouble=found.trouble)
    unseen = tuple(map(os.fsdecode, hello.unseen))
    trouble = f"does not see {unseen[0]}" if unseen else ""
    if hello.version != __version__:
        trouble = f"has facecli {hello.version}, not {__version__}"
    return MachineHealth(
        found.machine, found.cpus, found.gpus, hello.version, hello.device, hello.readers, unseen, trouble
    )
