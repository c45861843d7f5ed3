"""A worker of a run: it has the models on one device, opens no index, takes chunks of files and gives their results."""

from __future__ import annotations

import os
import socket
from concurrent.futures import ThreadPoolExecutor

from facecli import __version__
from facecli.photos.budget import PixelBudget, default_budget
from facecli.photos.opening import OPTIONAL_READERS, is_installed
from facecli.pipeline.clock import StageClock
from facecli.pipeline.messages import Answer, Hello, PhotoChunk, Spec
from facecli.pipeline.photo_batches import PhotoBatches
from facecli.pipeline.photo_threads import PhotoThreads
from facecli.pipeline.ties import Ties
from facecli.system import count_processors
from facecli.vision.devices.select import find_devices
from facecli.vision.models import FaceModels, Needs, Serving, is_batched, open_served
from facecli.vision.packs.resolve import find_recorded_pack


class ChunkWorker:
    """Does chunks, several at once where several threads call `work`, so that none waits at the end of one."""

    def __init__(self, spec: Spec, ties: Ties) -> None:
        """Find the device and begin to open the models in the background.

        Raises DeviceError if there is no such device and PackError if there is no such pack.
        """
        self._spec = spec
        self._device = find_devices(spec.device)[0]
        pack = find_recorded_pack(
            spec.pack.model, spec.pack.directory, spec.pack.detector_sha256, spec.pack.recogniser_sha256
        )
        opener = ThreadPoolExecutor(1)
        needs, serving = Needs(spec.detection, spec.precision), Serving(spec.batch_size, spec.sharing)
        self._models = opener.submit(open_served, pack, self._device, needs, serving, ties.report)
        opener.shutdown(wait=False)
        self.jobs = spec.jobs or count_processors()
        self._computed = False
        budget = PixelBudget(spec.max_memory) if spec.max_memory else default_budget()
        kind = PhotoBatches if is_batched(self._device) else PhotoThreads
        self._crew: PhotoBatches | PhotoThreads = kind(spec, ties, self._use_models, budget, self.jobs)

    def hello(self) -> Hello:
        """What this worker is; does not wait for the models."""
        return Hello(
            __version__,
            socket.gethostname(),
            os.getpid(),
            self._device.name,
            self.jobs,
            is_batched(self._device),
            tuple(r.package for r in OPTIONAL_READERS.values() if is_installed(r)),
            tuple(root for root in self._spec.roots if not os.path.exists(root)),
            self._crew.most,
        )

    def work(self, chunk: PhotoChunk) -> Answer:
        """Do a chunk; raises DeviceError, PackError or UsageError where the models cannot be used."""
        clock = StageClock()
        results = self._crew.work(chunk, clock)
        times = {stage: (time.busy_seconds, time.wait_seconds) for stage, time in clock.times().items()}
        return Answer(chunk.number, results, times, self.provider)

    @property
    def provider(self) -> str:
        """ONNX Runtime's name of the provider in use; empty if no photo needed the models."""
        return self._models.result().provider if self._computed else ""

    def finish(self) -> None:
        """Begin no more photos; `work` then answers with the first results of its chunk."""
        self._crew.finish()

    def close(self) -> None:
        """Wait for the photos in progress."""
        self.finish()
        self._crew.close()

    def _use_models(self) -> FaceModels:
        """The models; waits until they are open."""
        models = self._models.result()
        self._computed = True
        return models
