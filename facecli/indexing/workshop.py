"""The workers of a run with the models they share; made only when there is a photo to look at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from facecli.config import IndexOptions
from facecli.indexing.request import Settings
from facecli.photos.budget import PixelBudget, default_budget
from facecli.photos.decode import PhotoReader
from facecli.pipeline.chain import Chain, Shared
from facecli.pipeline.claims import Claims
from facecli.pipeline.clock import StageClock
from facecli.pipeline.results import ChainResult, FileTask
from facecli.pipeline.runner import Crew
from facecli.store.facestore import IndexWriter
from facecli.types import Reporter
from facecli.vision.device import find_devices
from facecli.vision.models import FaceModels, open_models


class Workshop:
    """Models, readers and threads of one run.

    The models are opened in the background, so that the first photos are read and decoded meanwhile.
    """

    def __init__(self, settings: Settings, options: IndexOptions, store: IndexWriter, clock: StageClock, reporter: Reporter) -> None:
        pack, device = settings.find_pack(), find_devices(options.device)[0]
        wanted = settings.kind.fingerprint
        opener = ThreadPoolExecutor(1)
        self._models = opener.submit(open_models, pack, device, wanted.detection, wanted.precision, reporter)
        opener.shutdown(wait=False)
        self._reading = options.reading
        self._budget = PixelBudget(options.max_memory) if options.max_memory else default_budget()
        self._journal = store.open_journal()
        self._shared = Shared(self._models.result, store, self._journal, Claims(), clock, reporter, options.force)

    def crew(self, jobs: int) -> Crew[FileTask, ChainResult]:
        """The threads of the run."""
        clock = self._shared.clock
        return Crew(lambda: self._make_chain(self._shared), jobs, lambda seconds: clock.add("read", wait=seconds), clock.now)

    @property
    def models(self) -> FaceModels:
        """The models; waits until they are open."""
        return self._models.result()

    def content_is_stored(self, digest: bytes) -> None:
        """Hear that the store knows a content, so that its copies are told by the store from now on."""
        self._shared.claims.forget(digest)

    def look_again(self, task: FileTask) -> ChainResult:
        """Look at one file in the caller's thread, whatever the index knows of its content."""
        chain = self._make_chain(replace(self._shared, force=True))
        try:
            return chain(task)
        finally:
            chain.close()

    def close(self) -> None:
        """Let go of the journal; the threads must have ended."""
        self._journal.close()

    def _make_chain(self, shared: Shared) -> Chain:
        return Chain(PhotoReader(self._reading, self._budget), shared)
