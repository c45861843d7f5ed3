"""The workers of a run and the models that they share; created only if there is a photo to read."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from msgspec.structs import replace

from facecli.config import IndexOptions
from facecli.indexing.outcomes import ChainResult, FileTask
from facecli.indexing.photo_task import PhotoTask, Shared
from facecli.indexing.request import Settings
from facecli.photos.budget import PixelBudget, default_budget
from facecli.photos.decode import PhotoReader
from facecli.pipeline.clock import StageClock
from facecli.pipeline.cores import count_workers
from facecli.pipeline.in_flight import Claims
from facecli.pipeline.runner import ThreadPool
from facecli.reporting import Reporter
from facecli.store.writer import IndexWriter
from facecli.types import StageTime
from facecli.vision.devices.select import find_devices
from facecli.vision.models import FaceModels
from facecli.vision.serving.pooled import Pooling, devices_apart, open_models_on

AHEAD = 4
"""Photos in progress per worker. A slow photo delays the next ones only after that many are done; while they wait they
hold faces, not pixels."""

DEVICE_BATCH = 64
"""The most photos in a batch of a device, if the user names no number."""


class WorkerPool:
    """Models, readers and threads of one run.

    The models are opened in the background, while the first photos are read and decoded.
    """

    def __init__(
        self, settings: Settings, options: IndexOptions, store: IndexWriter, clock: StageClock, reporter: Reporter
    ) -> None:
        pack, devices = settings.find_pack(), find_devices(options.device)
        wanted = settings.kind.fingerprint
        batch_size = options.batch_size or DEVICE_BATCH
        pooling = Pooling(reporter, batch_size)
        opener = ThreadPoolExecutor(1)
        self._models = opener.submit(open_models_on, pack, devices, wanted.detection, wanted.precision, pooling)
        opener.shutdown(wait=False)
        self._reading = options.reading
        self._budget = PixelBudget(options.max_memory) if options.max_memory else default_budget()
        self.devices = devices_apart(devices)
        self.jobs = options.jobs or count_workers(self.devices, batch_size, self._budget.total)
        self.window = AHEAD * self.jobs + batch_size
        """The most photos in progress or waiting for an earlier one: enough to keep every worker busy and to fill the
        batches of a device."""
        if self.devices and self.jobs < batch_size:
            reporter.detail(
                f"a batch holds at most {self.jobs} photos, one per worker: --jobs or --max-memory allows no more"
            )
        self.computed = False
        """Whether the models were used; a run may find no photo that needs them."""
        self._journal, self._reporter = store.open_journal(), reporter
        self._shared = Shared(self._use_models, store, self._journal, Claims(), clock, reporter, options.force)

    def _use_models(self) -> FaceModels:
        self.computed = True
        return self.models

    def crew(self) -> ThreadPool[FileTask, ChainResult]:
        """The threads of the run."""
        clock = self._shared.clock
        return ThreadPool(
            lambda: self._make_chain(self._shared),
            self.jobs,
            lambda seconds: clock.add("read", wait=seconds),
            clock.now,
        )

    @property
    def models(self) -> FaceModels:
        """The models; waits until they are open."""
        return self._models.result()

    def look_again(self, task: FileTask) -> ChainResult:
        """Process one file in the caller's thread, even if the index has its content."""
        chain = self._make_chain(replace(self._shared, force=True))
        try:
            return chain(task)
        finally:
            chain.close()

    def close(self) -> None:
        """Close the journal and the models; the threads must have ended."""
        self._journal.close()
        if self._journal.trouble:
            self._reporter.detail(self._journal.trouble)
        self._models.add_done_callback(_close_models)

    def sort_times(self, times: dict[str, StageTime]) -> None:
        """Count the devices' time as a stage's busy time and the workers' as waiting, if the two differ."""
        for stage, seconds in self.models.device_seconds().items():
            times[stage] = StageTime(busy_seconds=seconds, wait_seconds=times[stage].busy_seconds)

    def _make_chain(self, shared: Shared) -> PhotoTask:
        return PhotoTask(PhotoReader(self._reading, self._budget), shared)


def _close_models(opened: Future[FaceModels]) -> None:
    if opened.exception() is None:
        opened.result().close()
