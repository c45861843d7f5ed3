"""Measure how fast the host can feed a device: `python tests/benchmarks/host_ceiling.py`.

First the floor: what reading, decoding, letterboxing, alignment and the rest cost in one thread, called directly. Then
index runs by worker processes: reading, decoding, letterboxing, post-processing, alignment, messages and commits are
real, and a simulated device answers at once or after a given time for a photo (see canned_device.py). The photos are
copies of one portrait of 250 x 250 pixels with different comments, so that each has its own content.

Each row is measured twice, on few and on many photos, in processes pinned to its cores; the difference is reported, so
that the start of the processes does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import canned_device
import cv2
import numpy as np
from speed_corpora import make_corpora

from facecli.config import DetectionOptions, IndexOptions, ReadOptions
from facecli.fleet import processes
from facecli.indexing import engines
from facecli.indexing.index_photos import index_photos
from facecli.indexing.request import IndexRequest
from facecli.photos.decode import PhotoReader, stat_photo
from facecli.pipeline.results import fresh
from facecli.pipeline.stages import with_faces
from facecli.types import FileContents, Photo, PhotoFile
from facecli.vision.detection import scrfd
from facecli.vision.detection.letterbox import Letterbox
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.recognition.alignment import align_faces

PHOTOS = 1200
MORE = 4
"""How many times as many photos the second run has."""
ROWS = ((1, 1, 0.0), (2, 1, 0.0), (2, 2, 0.0), (2, 2, 1.0), (2, 2, 2.0))
"""Cores, worker processes (as many threads as cores, all together), and the device's milliseconds for a photo."""
SMOKE_PHOTOS = 24
SMOKE_ROWS = ((1, 1, 0.0), (2, 2, 1.0))
START = (
    "import sys; sys.path[:0] = [sys.argv[3], {here!r}]; import canned_device; "
    "canned_device.put({seconds}, {shared!r}); "
    "from facecli.fleet.process import main; main()"
)


def put_canned_device(seconds: float, shared: str) -> None:
    """Let the runs of this process have their photos done by workers with the canned device."""
    processes._START = START.format(here=str(Path(__file__).parent), seconds=seconds, shared=shared)
    engines.find_devices = lambda _: (canned_device.CANNED,)


def run(photos: Path, cores: int, workers: int, milliseconds: float) -> dict[str, float]:
    """Index the photos on a number of cores; seconds by the clock, of the driver's and of the workers' processors."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    with tempfile.TemporaryDirectory() as work:
        put_canned_device(milliseconds / 1000, f"{work}/device")
        began, used = time.perf_counter(), time.process_time()
        options = IndexOptions(jobs=cores, processes=workers)
        report = index_photos(IndexRequest(f"{work}/index", roots=(str(photos),), options=options))
        wall, driver = time.perf_counter() - began, time.process_time() - used
        device = canned_device.SharedTime(f"{work}/device").used()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "photos": report.photos.new,
        "faces": report.faces.total,
        "wall": wall,
        "driver": driver,
        "workers": children.ru_utime + children.ru_stime,
        "device": device,
    }


def measure(few: Path, many: Path, row: tuple[int, int, float]) -> dict[str, Any]:
    """One row of the table, from two runs in processes of their own."""
    less, more = (_run_apart(photos, row) for photos in (few, many))
    rest = {name: more[name] - less[name] for name in more}
    count = rest["photos"]
    return {
        "cores": row[0],
        "workers": row[1],
        "milliseconds": row[2],
        "photos": count,
        "faces": rest["faces"],
        "photos_per_second": round(count / rest["wall"], 1),
        "worker_milliseconds": round(1000 * rest["workers"] / count, 3),
        "driver_milliseconds": round(1000 * rest["driver"] / count, 3),
        "device_busy": round(rest["device"] / rest["wall"], 3),
    }


def measure_floor(photos: list[Path]) -> dict[str, float]:
    """Milliseconds of one thread for a photo in each stage, called directly, one photo after another."""
    reader = PhotoReader(ReadOptions())
    files = [file for path in photos if isinstance(file := stat_photo(str(path)), PhotoFile)]
    contents = [read for file in files if isinstance(read := reader.read(file), FileContents)]
    photo = reader.decode(contents[0])
    assert isinstance(photo, Photo)
    models = open_served(find_pack(None), canned_device.PROCESSOR, Needs(DetectionOptions()), Serving())
    [faces] = models.detector.detect([photo.pixels])
    vectors = np.zeros((len(faces), models.embedder.dimension), np.float32)
    return {
        "read": _milliseconds(lambda: [reader.read(file) for file in files], len(files)),
        "decode": _milliseconds(lambda: [reader.decode(each) for each in contents], len(files)),
        "letterbox": _milliseconds(lambda: _letterboxed(photo), 1),
        "post-process": _post_processing(photo),
        "align": _milliseconds(lambda: align_faces(photo.pixels, faces.landmarks), 1),
        "result": _milliseconds(lambda: fresh(with_faces(photo, faces, vectors)), 1),
        "faces": len(faces),
    }


def _letterboxed(photo: Photo) -> Any:
    """The inputs of the main and the small pass; gives the main one."""
    main, small = np.empty((640, 640, 3), np.uint8), np.empty((128, 128, 3), np.uint8)
    letterbox = Letterbox(127.5, 1 / 128)
    letterbox.fill(photo.pixels, small)
    letterbox.fill(photo.pixels, main)
    return main


def _post_processing(photo: Photo) -> float:
    """Milliseconds of finding the candidates for a photo in a batch of 64."""
    canned_device.put(0, "")
    network = canned_device.models.open_detector(find_pack(None).detector, canned_device.CANNED, None)  # type: ignore[arg-type]
    outputs = [np.array(o) for o in network.session.run(np.broadcast_to(_letterboxed(photo), (64, 640, 640, 3)))]
    scales = np.ones(64, np.float32)
    return _milliseconds(lambda: scrfd.best_of(network.decode(outputs, 64, 640, 0.5), scales), 64)


def _milliseconds(action: Callable[[], object], count: int) -> float:
    """The least of several times of an action for `count` photos, by the processor's clock of this thread."""
    times = []
    for _ in range(20):
        began = time.thread_time()
        action()
        times.append(1000 * (time.thread_time() - began) / count)
    return round(min(times), 3)


def make_photos(folder: Path, count: int) -> Path:
    """Write copies of a portrait with one face into a folder, each with its own comment."""
    whole = make_corpora(folder / "made", {"small": 2})["small"][1].read_bytes()
    target = folder / f"photos-{count}"
    target.mkdir()
    for number in range(count):
        comment = b"%06d" % number
        (target / f"{number:06d}.jpg").write_bytes(whole[:2] + b"\xff\xfe\x00\x08" + comment + whole[2:])
    return target


def make_sizes(folder: Path) -> dict[str, list[Path]]:
    """Photos of three sizes for the floor."""
    made = make_corpora(folder, {"small": 2, "large": 1})
    [large] = made["large"]
    pixels = cv2.imread(str(large))
    assert pixels is not None
    factor = (2e6 / pixels.shape[0] / pixels.shape[1]) ** 0.5
    middle = folder / "middle.jpg"
    cv2.imwrite(str(middle), cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    return {"250 x 250": made["small"][1:], "2 megapixels": [middle], "12 megapixels": [large]}


def main() -> None:
    """Measure the floor and all rows, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--smoke", action="store_true", help="few photos, to see that it works")
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--row", nargs=4, metavar=("FOLDER", "CORES", "WORKERS", "MS"), help="one run of one row, in this process"
    )
    options = parser.parse_args()
    if options.row:
        folder, cores, workers, milliseconds = options.row
        sys.stdout.write(json.dumps(run(Path(folder), int(cores), int(workers), float(milliseconds))) + "\n")
        return
    count = SMOKE_PHOTOS if options.smoke else options.photos
    with tempfile.TemporaryDirectory() as work:
        few, many = (make_photos(Path(work), number) for number in (count, MORE * count))
        floors = {size: measure_floor(photos) for size, photos in make_sizes(Path(work) / "sizes").items()}
        rows = [measure(few, many, row) for row in (SMOKE_ROWS if options.smoke else ROWS)]
    if options.json:
        sys.stdout.write(json.dumps({"floors": floors, "rows": rows}) + "\n")
        return
    for size, floor in floors.items():
        faces = floor.pop("faces")
        stages = ", ".join(f"{stage} {milliseconds:.3f}" for stage, milliseconds in floor.items())
        sys.stdout.write(f"{size}, {faces} faces: {sum(floor.values()):.2f} ms a photo ({stages})\n")
    sys.stdout.write("\n")
    sys.stdout.write("cores  workers  device ms a photo  photos/s  CPU-ms workers  driver  device busy\n")
    for row in rows:
        sys.stdout.write(
            "{cores:5}  {workers:7}  {milliseconds:17.1f}  {photos_per_second:8.0f}  {worker_milliseconds:14.2f}  "
            "{driver_milliseconds:6.2f}  {device_busy:11.0%}\n".format(**row)
        )


def _run_apart(photos: Path, row: tuple[int, int, float]) -> dict[str, float]:
    command = [sys.executable, __file__, "--row", str(photos), *map(str, row)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    result: dict[str, float] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    main()
