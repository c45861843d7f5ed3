"""All eight EXIF orientations, applied once, in every format that carries them."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np
import pillow_heif
import pytest
from picture_files import Pixels, exif_block, png_chunk, saved, scene, turned, with_exif, with_segments
from PIL import Image

from facecli.photos.exif import orientation_of_exif
from facecli.types import Photo, Skipped

Reading = Callable[[bytes], Photo | Skipped]
EIGHT = range(1, 9)
JPEG = saved(scene(), "JPEG", quality=95)
EXIF = b"Exif\0\0"
XMP = b"http://ns.adobe.com/xap/1.0/\0<x/>"


def pixels_of(photo: Photo | Skipped) -> Pixels:
    assert isinstance(photo, Photo), photo
    return photo.pixels


def by_opencv(data: bytes) -> Pixels:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1].astype(np.uint8)


@pytest.mark.parametrize("orientation", EIGHT)
def test_jpeg(read_bytes: Reading, orientation: int) -> None:
    upright = np.array(pixels_of(read_bytes(JPEG)))
    for order in "<>":
        data = with_exif(JPEG, orientation, order=order)
        pixels = pixels_of(read_bytes(data))
        np.testing.assert_array_equal(pixels, turned(upright, orientation))
        np.testing.assert_array_equal(pixels, by_opencv(data))


@pytest.mark.parametrize("orientation", EIGHT)
def test_png_before_and_after_the_pixels(read_bytes: Reading, orientation: int) -> None:
    data, chunk = saved(scene(), "PNG"), png_chunk(b"eXIf", exif_block(orientation))
    expected = turned(np.asarray(scene()), orientation)
    for at in (33, len(data) - 12):
        np.testing.assert_array_equal(pixels_of(read_bytes(data[:at] + chunk + data[at:])), expected)


@pytest.mark.parametrize("orientation", EIGHT)
def test_webp(read_bytes: Reading, orientation: int) -> None:
    data = saved(scene(), "WEBP", lossless=True, exif=exif_block(orientation))
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), turned(np.asarray(scene()), orientation))


@pytest.mark.parametrize("orientation", EIGHT)
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_tiff(read_bytes: Reading, orientation: int, compression: str) -> None:
    data = saved(scene(), "TIFF", compression=compression, tiffinfo={0x0112: orientation})
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), turned(np.asarray(scene()), orientation))


@pytest.mark.parametrize("orientation", EIGHT)
@pytest.mark.parametrize("kind", ["AVIF", "HEIF"])
def test_heif_and_avif(read_bytes: Reading, orientation: int, kind: str) -> None:
    pillow_heif.register_heif_opener()
    data = saved(scene(), kind, quality=95, exif=exif_block(orientation))
    difference = pixels_of(read_bytes(data)).astype(int) - turned(np.asarray(scene()), orientation)
    assert np.abs(difference).mean() < 6


def test_flips_are_views_and_turns_are_not_copied_twice(read_bytes: Reading) -> None:
    assert pixels_of(read_bytes(with_exif(JPEG, 3))).strides == (-96 * 3, -3, 1)
    assert pixels_of(read_bytes(with_exif(JPEG, 6))).strides == (64 * 3, -3, 1)


LAYOUTS = {
    "after XMP": with_segments(JPEG, (0xE1, XMP), (0xE1, EXIF + exif_block(6))),
    "two, the first wins": with_segments(JPEG, (0xE1, EXIF + exif_block(6)), (0xE1, EXIF + exif_block(3))),
    "two, the first says upright": with_segments(JPEG, (0xE1, EXIF + exif_block(1)), (0xE1, EXIF + exif_block(6))),
    "two, the first broken": with_segments(JPEG, (0xE1, EXIF + b"XXXX"), (0xE1, EXIF + exif_block(6))),
    "two, the first without": with_segments(
        JPEG, (0xE1, EXIF + b"II*\0\x08\0\0\0" + bytes(6)), (0xE1, EXIF + exif_block(6))
    ),
    "said twice": with_segments(
        JPEG, (0xE1, EXIF + exif_block(1, before=(struct.pack("<HHIHH", 0x0112, 3, 1, 8, 0),)))
    ),
    "out of range": with_segments(JPEG, (0xE1, EXIF + exif_block(9))),
    "zero": with_segments(JPEG, (0xE1, EXIF + exif_block(0))),
    "behind other tags": with_segments(
        JPEG, (0xE1, EXIF + exif_block(5, before=(struct.pack("<HHI4s", 0x010F, 2, 4, b"cam"),)))
    ),
    "before the scan": JPEG[: JPEG.index(b"\xff\xda")] + with_exif(JPEG, 6)[2:38] + JPEG[JPEG.index(b"\xff\xda") :],
}


@pytest.mark.parametrize("data", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_the_choice_among_several_is_opencvs(read_bytes: Reading, data: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), by_opencv(data))


def test_broken_exif_never_raises() -> None:
    block = exif_block(6)
    assert orientation_of_exif(block) == 6
    for end in range(len(block)):
        assert orientation_of_exif(block[:end]) in (6, None)
    for at in range(len(block)):
        for value in (0, 0x7F, 0xFF):
            assert orientation_of_exif(block[:at] + bytes([value]) + block[at + 1 :]) in (None, *EIGHT)


def test_photo_of_one_row_turns(read_bytes: Reading) -> None:
    data = with_exif(saved(Image.new("RGB", (500, 1), (9, 200, 30)), "JPEG"), 8)
    assert pixels_of(read_bytes(data)).shape == (500, 1, 3)
