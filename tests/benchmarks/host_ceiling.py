"""Measure how fast the host can feed a device: `python tests/benchmarks/host_ceiling.py`.

Reading, decoding, letterboxing, post-processing, alignment and commits are real. The device is simulated: it answers at
once, or after a given time per batch, with the networks' results for the first photo. So only facecli's own work on the
host is measured. The photos are copies of one portrait of 250 x 250 pixels with different comments, so that each has
its own content. Each row is measured in a separate process, pinned to its cores.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import facecli.indexing.worker_pool
import numpy as np
from numpy.typing import NDArray
from speed_corpora import make_corpora

from facecli.config import IndexOptions
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.vision.detection.network import FaceNetwork, PlainNetwork
from facecli.vision.detection.scrfd import LAYOUTS
from facecli.vision.packs.resolve import ModelFile
from facecli.vision.runtime.providers import CPU, Device
from facecli.vision.runtime.session import Session, open_session
from facecli.vision.serving import pooled

PHOTOS = 1200
ROWS = ((1, 8, 0), (2, 8, 0), (2, 34, 2), (2, 66, 10))
"""Cores, workers, and the device's milliseconds per batch."""
SMOKE_PHOTOS = 24
SMOKE_ROWS = ((1, 2, 0), (2, 4, 2))


class Canned:
    """A device that answers every row of a batch with the network's result for the first row it received."""

    def __init__(self, session: Session, seconds: float) -> None:
        self.provider, self.input, self.outputs = "CannedExecutionProvider", session.input, session.outputs
        self._session, self._seconds = session, seconds
        self._answers: dict[tuple[int, ...], list[NDArray[Any]]] = {}
        self._lock = threading.Lock()

    def run(self, feed: NDArray[Any]) -> list[NDArray[Any]]:
        with self._lock:
            shape = feed.shape[1:]
            answer = self._answers.get(shape)
            if answer is None:
                answer = self._session.run(feed[:1])
                if np.ptp(feed[:1]):  # else it is not a photo's, but one that only warms the device up
                    self._answers[shape] = answer
        time.sleep(self._seconds)
        return [_repeated(output, len(feed)) for output in answer]


def _repeated(output: NDArray[Any], rows: int) -> NDArray[Any]:
    """Repeat one row's output for a batch, with or without an axis for the rows."""
    if output.shape[0] == 1:
        return np.broadcast_to(output, (rows, *output.shape[1:]))
    return np.broadcast_to(output, (rows, *output.shape)).reshape(rows * output.shape[0], *output.shape[1:])


def put_canned_device(seconds: float) -> None:
    """Let all runs of this process use one device other than the CPU, which answers by `Canned`."""
    processor, canned = Device("cpu", CPU), Device("canned:0", "CannedExecutionProvider")

    def detector(file: ModelFile, *_: object) -> FaceNetwork:
        session = open_session(file.path, processor)
        return PlainNetwork(Canned(session, seconds), LAYOUTS[len(session.outputs)])

    def recogniser(file: ModelFile, *_: object) -> Session:
        return Canned(open_session(file.path, processor), seconds)

    pooled.open_detector, pooled.open_recogniser = detector, recogniser  # type: ignore[assignment]
    facecli.indexing.worker_pool.find_devices = lambda _: (canned,)


def measure(photos: Path, cores: int, workers: int, milliseconds: float) -> dict[str, Any]:
    """Index the photos in this process on a number of cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    put_canned_device(milliseconds / 1000)
    with tempfile.TemporaryDirectory() as work:
        began, used = time.perf_counter(), time.process_time()
        report = index_photos(IndexRequest(f"{work}/index", roots=(str(photos),), options=IndexOptions(jobs=workers)))
        wall, used = time.perf_counter() - began, time.process_time() - used
    count = report.photos.new
    figures = {
        "cores": cores,
        "workers": workers,
        "milliseconds": milliseconds,
        "photos": count,
        "faces": report.faces.total,
    }
    return figures | {"photos_per_second": round(count / wall, 1), "cpu_milliseconds": round(1000 * used / count, 2)}


def make_photos(folder: Path, count: int) -> None:
    """Write copies of a portrait with one face into a folder, each with its own comment."""
    whole = make_corpora(folder / "made", {"small": 2})["small"][1].read_bytes()
    (folder / "photos").mkdir()
    for number in range(count):
        comment = b"%06d" % number
        (folder / "photos" / f"{number:06d}.jpg").write_bytes(whole[:2] + b"\xff\xfe\x00\x08" + comment + whole[2:])


def main() -> None:
    """Measure all rows and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--smoke", action="store_true", help="few photos, to see that it works")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--row", nargs=4, metavar=("FOLDER", "CORES", "WORKERS", "MS"), help="measure one row in this process"
    )
    options = parser.parse_args()
    if options.row:
        folder, cores, workers, milliseconds = options.row
        sys.stdout.write(json.dumps(measure(Path(folder), int(cores), int(workers), float(milliseconds))) + "\n")
        return
    with tempfile.TemporaryDirectory() as work:
        make_photos(Path(work), SMOKE_PHOTOS if options.smoke else options.photos)
        rows = [_measured_apart(Path(work) / "photos", row) for row in (SMOKE_ROWS if options.smoke else ROWS)]
    if options.json:
        sys.stdout.write(json.dumps(rows) + "\n")
        return
    sys.stdout.write("cores  workers  device ms/batch  photos/s  CPU-ms a photo\n")
    for row in rows:
        sys.stdout.write(
            "{cores:5}  {workers:7}  {milliseconds:15.0f}  {photos_per_second:8.0f}  {cpu_milliseconds:14.1f}\n".format(
                **row
            )
        )


def _measured_apart(photos: Path, row: tuple[int, int, int]) -> dict[str, Any]:
    command = [sys.executable, __file__, "--row", str(photos), *map(str, row)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
