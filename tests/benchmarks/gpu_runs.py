"""The processes that the benchmark of GPUs measures, each within a time, and what they tell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpu_machine import load_nvml, watched

from facecli.config import ReadOptions
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.system import count_processors
from facecli.types import Photo, PhotoFile

HERE = Path(__file__).resolve().parent
LAST_LINES = 2
"""Of what a process that failed says, these are kept."""


class Runs:
    """Runs processes with a cache of their own below a folder, none longer than the seconds that `allow` sets."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._until = folder, 0.0
        self._nvml = load_nvml()
        self._environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}

    def allow(self, seconds: float) -> None:
        """What follows has so many seconds; raises TimeoutError where there are none."""
        self._until = time.monotonic() + seconds
        if seconds <= 0:
            raise TimeoutError("no time is left")

    def check(self) -> None:
        """Raise TimeoutError where the time is over; for work in this process."""
        if time.monotonic() > self._until:
            raise TimeoutError("the time of the step is over")

    def script(self, name: str, *arguments: str, provider: str = "") -> dict[str, Any]:
        """The JSON object that a script beside this one prints last, and the load of the GPUs."""
        own = self._environment | ({"LOOP_PROVIDER": provider} if provider else {})
        return self._told([sys.executable, str(HERE / name), *arguments], own)

    def loop(self, photos: Sequence[Path], provider: str) -> dict[str, Any]:
        """InsightFace's own loop; its faces are in loop.npz."""
        return self.script("insightface_loop.py", str(self.folder / "loop.npz"), *map(str, photos), provider=provider)

    def index(self, name: str, photos: Sequence[Path], *options: str) -> dict[str, Any]:
        """The report of an index run."""
        command = [sys.executable, "-m", "facecli", "index", "--json", "--quiet", "-i", str(self.folder / name)]
        told = self._told(
            [*command, "--files-from", "-", *options], self._environment, "".join(f"{p}\n" for p in photos)
        )
        if told["photos"]["new"] != len(photos):
            raise RuntimeError(f"of {len(photos)} photos only {told['photos']['new']} were indexed")
        return told

    def _told(self, command: list[str], environment: dict[str, str], text: str = "") -> dict[str, Any]:
        left = self._until - time.monotonic()
        with watched(self._nvml) as watch:
            done = subprocess.run(
                command,
                check=False,
                capture_output=True,
                text=True,
                input=text,
                env=environment,
                timeout=max(0.1, left),
            )
        if done.returncode:
            said = " / ".join(done.stderr.strip().splitlines()[-LAST_LINES:])
            raise RuntimeError(f"{Path(command[1]).name} exits {done.returncode}: {said}")
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told | {"gpu": watch.record()}


def busy(report: dict[str, Any], devices: int) -> dict[str, Any]:
    """The load of the GPUs, as the driver tells it, and the time of the networks as a share of the run's.

    Networks that several processes run at the same time count once for each, so that share can be over 1.
    """
    stages, seconds = report["stages"], report["seconds"] * devices
    share = sum(stages[stage]["busy_seconds"] for stage in ("detect", "embed")) / seconds
    return {**report["gpu"], "networks_busy": round(share, 3)}


def milliseconds_by_stage(report: dict[str, Any], photos: int) -> dict[str, list[float]]:
    """Of each stage, for a photo: milliseconds of work and of waiting, over all threads."""
    return {
        stage: [round(1000 * time[kind] / photos, 3) for kind in ("busy_seconds", "wait_seconds")]
        for stage, time in report["stages"].items()
    }


def decode_rate(photos: Sequence[Path], check: Callable[[], None]) -> float:
    """Photos per second if all cores only read and decode; `check` is called for each and may raise."""
    cores = count_processors()
    parts = [photos[start::cores] for start in range(cores)]

    def read(part: Sequence[Path]) -> None:
        reader = PhotoReader(ReadOptions())
        for path in part:
            check()
            file = stat_photo(str(path))
            assert isinstance(file, PhotoFile)
            contents = reader.read(file)
            assert not hasattr(contents, "reason")
            assert isinstance(reader.decode(contents), Photo)
        reader.close()

    began = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(read, parts))
    return len(photos) / (time.perf_counter() - began)
