"""Measure how long each stage of a run worked and waited."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from facecli.system import count_processors
from facecli.types import StageTime

STAGES = ("scan", "read", "decode", "detect", "align", "embed", "write")
"""The stages in the order in which a photo passes through them."""


class StageClock:
    """Adds up the times of the stages over all threads; thread-safe."""

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self._lock = threading.Lock()
        self._times = {stage: StageTime() for stage in STAGES}

    @contextmanager
    def busy(self, stage: str) -> Iterator[None]:
        """Count the time of the block as work of a stage."""
        began = self.now()
        try:
            yield
        finally:
            self.add(stage, busy=self.now() - began)

    @contextmanager
    def waiting(self, stage: str) -> Iterator[None]:
        """Count the time of the block as waiting of a stage."""
        began = self.now()
        try:
            yield
        finally:
            self.add(stage, wait=self.now() - began)

    def add(self, stage: str, *, busy: float = 0.0, wait: float = 0.0) -> None:
        """Add seconds to a stage."""
        with self._lock:
            time = self._times[stage]
            time.busy_seconds += busy
            time.wait_seconds += wait

    def times(self) -> dict[str, StageTime]:
        """The sums so far, by stage."""
        with self._lock:
            return {stage: StageTime(t.busy_seconds, t.wait_seconds) for stage, t in self._times.items()}


def bottleneck(times: dict[str, StageTime], jobs: int, devices: int = 0) -> str:
    """The stage that limited the speed of the run: the busiest stage on the busiest resource.

    Scanning and writing share one thread, the other stages share `jobs` threads. With `devices` other than the CPU, the
    stages of the networks are measured in device time and share the devices; the other stages of the workers, most of
    which wait, then share the processors.
    """
    single, worked, networks = ("scan", "write"), ("read", "decode", "align"), ("detect", "embed")
    apart = {single: 1, worked: min(jobs, count_processors()), networks: devices}
    together = {single: 1, (*worked, *networks): max(jobs, 1)}
    shares = apart if devices else together
    loads = {stages: sum(times[stage].busy_seconds for stage in stages) / share for stages, share in shares.items()}
    busiest = max(loads, key=loads.__getitem__)
    return max(busiest, key=lambda stage: times[stage].busy_seconds)
