"""The workers of a run with the models they share; made only when there is a photo to look at."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from facecli.config import IndexOptions
from facecli.indexing.request import Settings
from facecli.photos.budget import PixelBudget, default_budget
from facecli.photos.decode import PhotoReader
from facecli.pipeline.chain import Chain, ContentMemory
from facecli.pipeline.claims import Claims
from facecli.pipeline.clock import StageClock
from facecli.pipeline.results import ChainResult, FileTask
from facecli.pipeline.runner import Crew
from facecli.types import Reporter
from facecli.vision.device import find_devices
from facecli.vision.models import FaceModels, open_models


class Workshop:
    """Models, readers and threads of one run.

    The models are opened in the background, so that the first photos are read and decoded meanwhile.
    """

    def __init__(self, settings: Settings, options: IndexOptions, memory: ContentMemory, clock: StageClock, reporter: Reporter) -> None:
        self.claims = Claims()
        self._options, self._memory, self._clock = options, memory, clock
        pack, device = settings.find_pack(), find_devices(options.device)[0]
        wanted = settings.kind.fingerprint
        opener = ThreadPoolExecutor(1)
        self._models = opener.submit(open_models, pack, device, wanted.detection, wanted.precision, reporter)
        opener.shutdown(wait=False)
        self._budget = PixelBudget(options.max_memory) if options.max_memory else default_budget()

    def crew(self, jobs: int, now: Callable[[], float]) -> Crew[FileTask, ChainResult]:
        """The threads of the run."""
        return Crew(self._make_chain, jobs, lambda seconds: self._clock.add("read", wait=seconds), now)

    @property
    def models(self) -> FaceModels:
        """The models; waits until they are open."""
        return self._models.result()

    def look_again(self, task: FileTask) -> ChainResult:
        """Look at one file in the caller's thread, whatever the index knows of its content."""
        chain = self._make_chain()
        chain.force = True
        try:
            return chain(task)
        finally:
            chain.close()

    def _make_chain(self) -> Chain:
        chain = Chain(PhotoReader(self._options.reading, self._budget), lambda: self.models, self._memory, self.claims, self._clock)
        chain.force = self._options.force
        return chain
