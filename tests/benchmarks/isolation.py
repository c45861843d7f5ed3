"""Measure the cost per photo of decoding in the helper process: `python tests/benchmarks/isolation.py`.

The same reader decodes the same bytes in the worker and in the helper, in turns; the medians and their difference are
printed. The start of the helper, once per worker, is measured separately.
"""

from __future__ import annotations

import io
import statistics
import sys
import time

import numpy as np
from PIL import Image

from facecli.config import ReadOptions
from facecli.photos.decode import PhotoReader
from facecli.types import FileContents, Photo, PhotoFile

ROUNDS = 7


def photo_file(width: int, height: int, kind: str) -> bytes:
    """A picture file with details of all sizes."""
    dice = np.random.default_rng(1)
    coarse = Image.fromarray(dice.integers(0, 255, (height // 64, width // 64, 3), np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    noise = dice.integers(-6, 6, (height, width, 1))
    pixels = np.clip(np.asarray(coarse, np.int16) + noise, 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, quality=90)
    return file.getvalue()


def seconds(reader: PhotoReader, data: bytes, *, isolated: bool) -> float:
    """The time for one photo."""
    contents = FileContents(PhotoFile("/photo", len(data), 0), b"", data)
    began = time.perf_counter()
    photo = reader.decode(contents, isolated=isolated)
    took = time.perf_counter() - began
    assert isinstance(photo, Photo), photo
    return took


def main() -> None:
    """Measure and print."""
    reader = PhotoReader(ReadOptions())
    first = seconds(reader, photo_file(128, 128, "JPEG"), isolated=True)
    sys.stdout.write(f"first photo, with the start of the helper: {first * 1000:.0f} ms\n")
    for megapixels, (width, height) in {"0.3": (640, 480), "2": (1728, 1152), "12": (4032, 3008)}.items():
        for kind in ("JPEG", "PNG", "WEBP"):
            data = photo_file(width, height, kind)
            pairs = [
                (seconds(reader, data, isolated=False), seconds(reader, data, isolated=True)) for _ in range(ROUNDS)
            ]
            direct, isolated = (statistics.median(p[i] for p in pairs) * 1000 for i in (0, 1))
            sys.stdout.write(
                f"{kind:5} {megapixels:>4} MP: worker {direct:7.1f} ms, helper {isolated:7.1f} ms, "
                f"{isolated - direct:+6.1f} ms\n"
            )
    reader.close()


if __name__ == "__main__":
    main()
