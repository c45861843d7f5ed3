"""Choose the engine of a run: threads of this process, processes on this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from facecli import __version__
from facecli.config import IndexOptions, ReadOptions
from facecli.fleet.engine import Engine
from facecli.indexing.request import Settings
from facecli.photos.budget import default_budget
from facecli.pipeline.messages import PackName, Spec
from facecli.reporting import Reporter
from facecli.store.records import EmbeddingKind
from facecli.store.writer import IndexWriter
from facecli.system import count_processors
from facecli.vision.devices.select import CPU, Device, find_devices
from facecli.vision.runtime.cuda import GPU_KINDS, read_gpu

DEVICE_BATCH = 64
"""The most photos in a batch of a device, if the user names no number."""
CORES_OF_A_PROCESS = 4
"""Processors that one process keeps busy. Reckoned: on two cores, each worker thread held Python's lock for an eighth
of its time, so the lock is full with eight threads, and already with five or six they wait for it noticeably."""
BYTES_OF_A_PROCESS = 4_000_000_000
"""The memory of a GPU for one process: its context, the models and their batches. Reckoned."""


class EngineChoice:
    """The engine of a run, chosen when there is work for it."""

    def __init__(self, options: IndexOptions, settings: Settings, store: IndexWriter, roots: Iterable[str]) -> None:
        self._options, self._settings, self._store, self._roots = options, settings, store, roots
        self.close: Callable[[], None] = lambda: None
        """Closes what the engine used; the workers must have ended."""

    def open(self, reporter: Reporter) -> Engine:
        """Open the engine; raises DeviceError, PackError, UsageError or WorkerError."""
        # Each engine is imported here only: most runs need one of them, and many need none.
        if self._options.fleet.address:
            from facecli.fleet.ray_engine import RayEngine  # noqa: PLC0415

            return RayEngine(
                self._options.fleet, self.spec(self._options.device), self._store.known_contents(), reporter
            )
        devices = find_devices(self._options.device)
        processes = count_processes(devices, self._options)
        if processes:
            from facecli.fleet.processes import ProcessEngine  # noqa: PLC0415

            return ProcessEngine(self._specs(devices, max(processes, len(devices))), self._store.known_contents())
        return self._open_threads(devices, reporter)

    def _open_threads(self, devices: Sequence[Device], reporter: Reporter) -> Engine:
        from facecli.fleet.threads import ThreadEngine  # noqa: PLC0415
        from facecli.pipeline.ties import Ties  # noqa: PLC0415

        journal = self._store.open_journal()

        def close() -> None:
            journal.close()
            if journal.trouble:
                reporter.detail(journal.trouble)

        self.close = close
        return ThreadEngine(self._specs(devices, len(devices)), Ties(self._knows, journal, reporter))

    def _knows(self, digest: bytes, force: bool) -> bool:  # noqa: FBT001 (the order is that of Ties.knows)
        is_stored = not force and self._store.photo_of_content(digest) is not None
        return is_stored or self._store.kept_out(digest).photo

    def _specs(self, devices: Sequence[Device], workers: int) -> list[Spec]:
        """What each worker is: the devices in turn, the threads and the memory shared evenly."""
        memory = self._options.max_memory or default_budget().total
        threads = self._options.jobs or count_processors()
        share = replace(
            self.spec(""),
            jobs=-(-threads // workers),
            max_memory=max(1, memory // workers),
            sharing=-(-workers // len(devices)),
        )
        return [replace(share, device=devices[n % len(devices)].name) for n in range(workers)]

    def spec(self, device: str) -> Spec:
        """What a worker must be that has a machine for itself."""
        options, kind = self._options, self._settings.kind
        made = make_spec(kind, self._roots, options.reading)
        return replace(
            made,
            device=device,
            jobs=options.jobs,
            batch_size=options.batch_size or DEVICE_BATCH,
            max_memory=options.max_memory or 0,
        )


def make_spec(kind: EmbeddingKind, roots: Iterable[str], reading: ReadOptions) -> Spec:
    """What a worker must be to make embeddings of a kind, of photos below these directories."""
    wanted = kind.fingerprint
    pack = PackName(wanted.model, kind.model_directory or "", wanted.detector_sha256, wanted.recogniser_sha256)
    seen = tuple(os.fsencode(root) for root in roots)
    return Spec(__version__, pack, wanted.detection, wanted.precision, reading, roots=seen)


def count_processes(devices: Sequence[Device], options: IndexOptions) -> int:
    """The number of worker processes; 0 for threads of this process, which suit few processors."""
    if options.processes is not None:
        return options.processes
    shares = (options.jobs or count_processors()) // CORES_OF_A_PROCESS
    if len(devices) == 1 and devices[0].provider == CPU:
        return shares if shares > 1 else 0
    if all(device.provider == CPU for device in devices):
        return 0
    return len(devices) * max(1, min(shares // len(devices), *map(_most_processes, devices)))


def _most_processes(device: Device) -> int:
    """The processes that a device has the memory for."""
    gpu = read_gpu(device.number) if device.kind in GPU_KINDS else None
    return 1 if gpu is None else gpu.memory_free // BYTES_OF_A_PROCESS
