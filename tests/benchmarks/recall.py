"""Measure how many faces each detector pass finds, and its cost.

Usage: `python tests/benchmarks/recall.py [--portraits DIR] [--faceless DIR]`.

Three tables: a crowd of 4000 x 3000 pixels whose faces are known, photos that lie on their side, and photos without a
face. Portraits are photos with one person in the middle (by default, faces cut out of the sample photos). Faceless
photos show nobody (by default, those of scikit-image). A face counts as found if the boxes overlap by 0.4, and as
searchable if its embedding has a cosine of 0.4 to that of the same face in its own photo. Times are the processor time
of one thread in the detector.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))
from conftest import sample

from facecli.boxes import overlaps
from facecli.config import DetectionOptions
from facecli.types import ByteArray, Detections, FloatArray
from facecli.vision.devices.select import Device
from facecli.vision.models import FaceModels, Needs, Serving, open_served
from facecli.vision.packs.resolve import find_pack
from facecli.vision.recognition.alignment import align_faces

SAMPLES = ("players.jpg", "gdp.jpg", "t1.jpg", "astronaut.png", "yaoming.jpg")
FACELESS = (
    "coffee.png",
    "rocket.jpg",
    "chelsea.png",
    "motorcycle_left.png",
    "hubble_deep_field.jpg",
    "retina.jpg",
    "coins.png",
    "page.png",
)
FACELESS += ("text.png", "moon.png", "grass.png", "gravel.png", "brick.png", "ihc.png", "clock_motion.png")
SIZES = (16, 20, 24, 28, 32, 40, 48, 64, 80, 100)
"""Widths of the crowd's faces in pixels."""
LOOKS = {
    "640 (default)": DetectionOptions(),
    "--det-size 960": DetectionOptions(det_size=960),
    "--thorough": DetectionOptions(tiles=True),
    "--det-size 1280": DetectionOptions(det_size=1280),
    "--det-size 1920": DetectionOptions(det_size=1920),
}


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A face with its surroundings."""

    pixels: ByteArray
    box: FloatArray
    embedding: FloatArray


def open_with(options: DetectionOptions) -> FaceModels:
    return open_served(find_pack(None), Device("cpu", "CPUExecutionProvider"), Needs(options), Serving())


def read(path: Path) -> ByteArray | None:
    """A photo of 12 megapixels at most, RGB."""
    pixels = cv2.imread(str(path))
    if pixels is None:
        return None
    factor = 4000 / max(pixels.shape)
    small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else pixels
    return np.ascontiguousarray(small[..., ::-1])


def photos_below(folder: str) -> list[Path]:
    kinds = (".jpg", ".jpeg", ".png", ".webp")
    return sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in kinds)


def embeddings(models: FaceModels, pixels: ByteArray, found: Detections) -> FloatArray:
    return models.embedder.embed(align_faces(pixels, found.landmarks))


def portraits(models: FaceModels, folder: str | None) -> Iterator[Portrait]:
    """Each face of the samples that has a score of 0.8, or the face in the middle of each portrait."""
    for path in photos_below(folder) if folder else map(sample, SAMPLES):
        pixels = read(path)
        assert pixels is not None
        found = models.detector.detect([pixels])[0]
        middle = np.array(pixels.shape[1::-1]) / 2
        nearest = np.abs((found.boxes[:, :2] + found.boxes[:, 2:]) / 2 - middle).sum(axis=1).argmin()
        rows = [int(nearest)] if folder else np.flatnonzero(found.scores >= 0.8)
        every = embeddings(models, pixels, found)
        for row in rows:
            low, high = found.boxes[row, :2], found.boxes[row, 2:]
            around = 0.7 * (high - low)
            x1, y1 = np.maximum(low - around, 0).astype(int)
            x2, y2 = (high + around).astype(int)
            yield Portrait(
                pixels[y1:y2, x1:x2], found.boxes[row] - np.tile(np.array((x1, y1), np.float32), 2), every[row]
            )


def crowd(people: list[Portrait]) -> tuple[ByteArray, FloatArray, FloatArray]:
    """A photo of 4000 x 3000 pixels full of faces of all sizes: its pixels, their boxes and embeddings."""
    scene = read(sample("astronaut.png").with_name("rocket.jpg"))
    assert scene is not None
    pixels = cv2.resize(scene, (4000, 3000), interpolation=cv2.INTER_CUBIC)
    dice = np.random.default_rng(0)
    boxes, known = [], []
    spots = dice.permutation([(x, y) for y in range(20, 2720, 300) for x in range(20, 3720, 300)])
    for number, (x, y) in enumerate(spots[: 10 * len(SIZES)]):
        person = people[int(dice.integers(len(people)))]
        factor = SIZES[number % len(SIZES)] / float(person.box[2] - person.box[0])
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        small = cv2.resize(person.pixels, None, fx=factor, fy=factor, interpolation=method)[:280, :280]
        pixels[y : y + small.shape[0], x : x + small.shape[1]] = small
        boxes.append(person.box * factor + np.array((x, y, x, y)))
        known.append(person.embedding)
    return pixels.astype(np.uint8), np.array(boxes, np.float32), np.array(known, np.float32)


def timed(models: FaceModels, pixels: ByteArray) -> tuple[Detections, float]:
    """The faces of a photo, and the milliseconds of the second detection."""
    models.detector.detect([pixels])
    began = time.thread_time()
    found = models.detector.detect([pixels])[0]
    return found, 1000 * (time.thread_time() - began)


def searchable(models: FaceModels, pixels: ByteArray, found: Detections, known: FloatArray) -> list[bool]:
    """Whether a found face is similar to each of the known embeddings (n, d)."""
    if not len(found):
        return [False] * len(known)
    return [bool(s) for s in (embeddings(models, pixels, found) @ known.T).max(axis=0) >= 0.4]


def show_crowd(people: list[Portrait]) -> None:
    """Table one."""
    pixels, boxes, known = crowd(people)
    sizes = np.arange(len(boxes)) % len(SIZES)
    say(f"\ncrowd of {len(boxes)} faces, 10 of each width; searchable of 10 by width, faces reported, false ones, ms")
    say(f"{'':18}" + "".join(f"{size:>5}" for size in SIZES))
    for name, options in LOOKS.items():
        models = open_with(options)
        found, took = timed(models, pixels)
        shares = overlaps(boxes, found.boxes) >= 0.4
        alike = known @ embeddings(models, pixels, found).T >= 0.4
        hit = (shares & alike).any(axis=1)
        false = int((overlaps(found.boxes, boxes).max(axis=1) < 0.1).sum())
        say(
            f"{name:18}"
            + "".join(f"{int(hit[sizes == i].sum()):>5}" for i in range(len(SIZES)))
            + f"   {len(found):>4} {false:>3} {took:>6.0f}"
        )
    for name in ("players.jpg", "t1.jpg", "gdp.jpg"):
        scene = read(sample(name))
        assert scene is not None
        counts = [
            f"{look} {len(found)} ({took:.0f} ms)"
            for look, (found, took) in ((n, timed(open_with(o), scene)) for n, o in LOOKS.items())
        ]
        say(f"{name}: " + ", ".join(counts))


def show_turned(folder: str | None) -> None:
    """Table two."""
    plain, rotating = open_with(DetectionOptions(rotate=False)), open_with(DetectionOptions())
    counts = dict.fromkeys(("faces", "plain", "rotate", "added", "nothing"), 0)
    for path in photos_below(folder) if folder else map(sample, SAMPLES):
        upright = read(path)
        assert upright is not None
        faces = plain.detector.detect([upright])[0]
        faces = faces.select(faces.scores >= 0.75)
        known = embeddings(plain, upright, faces)
        for quarters in (1, 2, 3):
            lying = np.ascontiguousarray(np.rot90(upright, quarters))
            before, after = plain.detector.detect([lying])[0], rotating.detector.detect([lying])[0]
            counts["faces"] += len(known)
            counts["plain"] += sum(searchable(plain, lying, before, known))
            counts["rotate"] += sum(searchable(plain, lying, after, known))
            counts["added"] += len(after) - len(before)
            counts["nothing"] += not len(before)
    say("\nphotos turned by 90, 180 and 270 degrees: " + ", ".join(f"{name} {value}" for name, value in counts.items()))


def show_costs(with_faces: list[Path], without: list[Path]) -> None:
    """Table three: the detector alone, without reading, aligning and embedding."""
    looks = {"--no-rotate": open_with(DetectionOptions(rotate=False)), "--rotate": open_with(DetectionOptions())}
    for kind, paths in (("with faces", with_faces), ("without a face", without)):
        spent, faces = dict.fromkeys(looks, 0.0), dict.fromkeys(looks, 0)
        for path in paths:
            pixels = read(path)
            if pixels is None:
                continue
            for name, models in looks.items():
                found, took = timed(models, pixels)
                spent[name] += took
                faces[name] += len(found)
        each = ", ".join(
            f"{name} {spent[name] / max(1, len(paths)):.1f} ms a photo, {faces[name]} faces" for name in looks
        )
        say(f"\n{len(paths)} photos {kind}: {each}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--portraits", metavar="DIR")
    parser.add_argument("--faceless", metavar="DIR")
    named = parser.parse_args()
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    show_crowd(list(portraits(open_with(DetectionOptions()), named.portraits)))
    show_turned(named.portraits)
    scenes = [Path(str(f.locate())) for f in importlib.metadata.files("scikit-image") or [] if f.name in FACELESS]
    faces = photos_below(named.portraits) if named.portraits else [sample(name) for name in SAMPLES]
    show_costs(faces, photos_below(named.faceless) if named.faceless else scenes)


if __name__ == "__main__":
    main()
