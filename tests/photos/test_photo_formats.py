"""Every format is recognised by its content and decoded to its own pixels."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  # lets Pillow write JPEG XL
import pytest
from picture_files import (
    Pixels,
    png_chunk,
    png_file,
    raw_file,
    sampled,
    saved,
    scene,
    tiled_tiff,
    turned,
    with_exif,
    with_segments,
)
from PIL import Image

from facecli.types import Photo, Skipped, SkipReason

Reading = Callable[[bytes], Photo | Skipped]


def pixels_of(photo: Photo | Skipped) -> Pixels:
    assert isinstance(photo, Photo), photo
    assert photo.pixels.dtype == np.uint8
    return photo.pixels


def by_opencv(data: bytes) -> Pixels:
    """The reference: cv2.imread's pixels, in RGB."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded[:, :, ::-1].astype(np.uint8)


def jpegs() -> dict[str, bytes]:
    picture = scene(321, 211)
    cmyk = saved(picture.convert("CMYK"), "JPEG", quality=97)
    plain = saved(picture, "JPEG", quality=90)
    return {
        "baseline": plain,
        "progressive": saved(picture, "JPEG", quality=90, progressive=True),
        "4:4:4": saved(picture, "JPEG", quality=97, subsampling=0),
        "4:2:2": saved(picture, "JPEG", quality=97, subsampling=1),
        "gray": saved(picture.convert("L"), "JPEG"),
        "Adobe CMYK": cmyk,
        "Adobe YCCK": with_segments(cmyk[:2] + cmyk[2:].replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2")),
        "trailing data": plain + b"\0\0\0\x18ftypmp42" * 50,
        "restart markers": saved(picture, "JPEG", restart_marker_blocks=4),
        "colour profile": saved(picture, "JPEG", icc_profile=bytes(3000)),
        "MPO": saved(picture, "MPO", save_all=True, append_images=[Image.new("RGB", (40, 40))]),
        "rubbish between segments": plain[:20] + b"\0\0\1\2" + plain[20:],
        "segment of no length": with_segments(plain, (0xEE, b"")).replace(b"\xff\xee\0\2", b"\xff\xee\0\0"),
        "odd version of JFIF": plain.replace(b"JFIF\0\1\1", b"JFIF\0\x79\x51"),
        "odd sampling": sampled(plain),
    }


@pytest.mark.parametrize(("name", "data"), jpegs().items(), ids=jpegs().keys())
def test_jpeg_equals_opencv(read_bytes: Reading, name: str, data: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), by_opencv(data), err_msg=name)


@pytest.mark.parametrize("name", ["players.jpg", "gdp.jpg", "t1.jpg", "yaoming.jpg", "astronaut.png"])
def test_sample_photos_equal_opencv(read_bytes: Reading, find_sample: Callable[[str], Path], name: str) -> None:
    data = find_sample(name).read_bytes()
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), by_opencv(data))


def test_one_reader_gives_every_size_right(read_bytes: Reading) -> None:
    for width, height in ((640, 480), (8, 8), (1, 1), (3, 900), (900, 3), (640, 480)):
        data = saved(scene(width, height), "JPEG")
        np.testing.assert_array_equal(pixels_of(read_bytes(data)), by_opencv(data))


PNGS = {
    "RGB": saved(scene(), "PNG"),
    "gray": saved(scene().convert("L"), "PNG"),
    "palette": saved(scene().quantize(64), "PNG"),
    "1 bit": saved(scene().convert("1"), "PNG"),
    "text and profile": saved(scene(), "PNG", icc_profile=bytes(70_000)),
    "interlaced 1 x 1": b"\x89PNG\r\n\x1a\n"
    + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 1))
    + png_file(1, 1, b"\0abc", colour=2)[33:],
    "animated": saved(scene(), "PNG", save_all=True, append_images=[Image.new("RGB", scene().size)]),
}


@pytest.mark.parametrize(("name", "data"), PNGS.items(), ids=PNGS.keys())
def test_png_without_alpha_equals_opencv(read_bytes: Reading, name: str, data: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), by_opencv(data), err_msg=name)


def test_sixteen_bits_become_eight(read_bytes: Reading) -> None:
    expected = np.asarray(scene())
    deep = (expected.astype(np.uint16) * 257).astype(">u2")
    colour = png_file(96, 64, b"".join(b"\0" + row.tobytes() for row in deep), depth=16, colour=2)
    np.testing.assert_array_equal(pixels_of(read_bytes(colour)), expected)
    gray = np.asarray(scene().convert("L"))
    for kind, options in (("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"})):
        data = saved(Image.fromarray(gray.astype(np.uint16) * 257), kind, **options)
        np.testing.assert_array_equal(pixels_of(read_bytes(data)), np.repeat(gray[:, :, None], 3, axis=2))


def test_the_transparent_is_white(read_bytes: Reading) -> None:
    rgba = np.dstack((np.asarray(scene()), np.full((64, 96), 255, np.uint8)))
    rgba[:20, :30, 3] = 0
    rgba[20:30, :30, 3] = 128
    opaque, half = rgba[40:, :, :3], (rgba[20:30, :30, :3].astype(float) + 255) / 2
    image = Image.fromarray(rgba)
    for data in (saved(image, "PNG"), saved(image, "WEBP", lossless=True, exact=True), saved(image, "TIFF")):
        pixels = pixels_of(read_bytes(data))
        assert (pixels[:20, :30] == 255).all()
        np.testing.assert_array_equal(pixels[40:], opaque)
        np.testing.assert_allclose(pixels[20:30, :30], half, atol=1.5)


def test_transparent_gray_palette_and_key_colour_are_white(read_bytes: Reading) -> None:
    gray = Image.new("LA", (4, 4), (30, 0))
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([0, 0, 0, 9, 9, 9])
    for data in (
        saved(gray, "PNG"),
        saved(palette, "PNG", transparency=1),
        saved(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
    ):
        assert (pixels_of(read_bytes(data)) == 255).all()


BLANK = Image.new("RGB", (96, 64), "white")
LOSSLESS = {
    "BMP": saved(scene(), "BMP"),
    "TIFF": saved(scene(), "TIFF"),
    "TIFF, LZW": saved(scene(), "TIFF", compression="tiff_lzw"),
    "TIFF, deflate": saved(scene(), "TIFF", compression="tiff_adobe_deflate"),
    "TIFF, two pages": saved(scene(), "TIFF", save_all=True, append_images=[BLANK]),
    "WebP": saved(scene(), "WEBP", lossless=True),
    "WebP, animated": saved(scene(), "WEBP", lossless=True, save_all=True, append_images=[BLANK]),
    "JPEG 2000": saved(scene(), "JPEG2000"),
    "JPEG 2000 stream": saved(scene(), "JPEG2000", no_jp2=True),
    "PNM": saved(scene(), "PPM"),
    "QOI": saved(scene(), "QOI"),
}


@pytest.mark.parametrize(("name", "data"), LOSSLESS.items(), ids=LOSSLESS.keys())
def test_lossless_formats_are_exact(read_bytes: Reading, name: str, data: bytes) -> None:
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), np.asarray(scene()), err_msg=name)


def test_tiled_tiff(read_bytes: Reading) -> None:
    np.testing.assert_array_equal(pixels_of(read_bytes(tiled_tiff(scene(64, 96), 32))), np.asarray(scene(64, 96)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_raw_file_gives_its_preview_upright(read_bytes: Reading, orientation: int) -> None:
    preview = saved(scene(192, 128), "JPEG", quality=95)
    pixels = pixels_of(read_bytes(raw_file(scene(192, 128), preview, orientation=orientation)))
    np.testing.assert_array_equal(pixels, turned(by_opencv(preview), orientation))


def test_a_preview_that_the_camera_turned_is_not_turned_again(read_bytes: Reading) -> None:
    preview = saved(scene(128, 192), "JPEG", quality=95)
    np.testing.assert_array_equal(
        pixels_of(read_bytes(raw_file(scene(192, 128), preview, orientation=6))), by_opencv(preview)
    )


@pytest.mark.parametrize(
    "preview", [None, saved(scene(30, 20), "JPEG"), b"no JPEG at all", saved(scene(192, 128), "JPEG")[:200]]
)
def test_a_raw_file_without_a_useful_preview_is_developed(read_bytes: Reading, preview: bytes | None) -> None:
    assert pixels_of(read_bytes(raw_file(scene(192, 128), preview))).shape == (128, 192, 3)
    assert pixels_of(read_bytes(raw_file(scene(192, 128), preview, orientation=6))).shape == (192, 128, 3)


def test_first_frame_of_a_gif(read_bytes: Reading) -> None:
    palette = scene().quantize(200)
    data = saved(palette, "GIF", save_all=True, append_images=[BLANK.quantize(2)])
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), np.asarray(palette.convert("RGB")))


def photoshop_document(picture: Image.Image) -> bytes:
    """A PSD file without layers, with only the flattened picture."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, picture.height, picture.width, 8, 3)
    planes = np.asarray(picture).transpose(2, 0, 1).tobytes()
    return header + bytes(12) + struct.pack(">H", 0) + planes


def test_flattened_photoshop_document(read_bytes: Reading) -> None:
    np.testing.assert_array_equal(pixels_of(read_bytes(photoshop_document(scene()))), np.asarray(scene()))


@pytest.mark.parametrize("size", [(96, 64), (64, 64), (321, 123), (8, 256), (300, 200), (1, 1), (3000, 9)])
@pytest.mark.parametrize("container", [False, True])
def test_jpeg_xl(read_bytes: Reading, size: tuple[int, int], *, container: bool) -> None:
    data = saved(scene(*size), "JXL", lossless=True, use_container=container)
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), np.asarray(scene(*size)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_packed_into_jpeg_xl(read_bytes: Reading, tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "packed.jpg"
    path.write_bytes(with_exif(saved(scene(), "JPEG", quality=95), orientation))
    expected = np.array(pixels_of(read_bytes(path.read_bytes())))
    with Image.open(path) as image:
        packed = saved(image, "JXL", lossless_jpeg=True)
    np.testing.assert_allclose(pixels_of(read_bytes(packed)).astype(int), expected, atol=3)


@pytest.mark.parametrize("kind", ["AVIF", "HEIF", "WEBP"])
def test_lossy_formats_are_near(read_bytes: Reading, kind: str) -> None:
    pillow_heif.register_heif_opener()
    pixels = pixels_of(read_bytes(saved(scene(320, 240), kind, quality=95)))
    assert np.abs(pixels.astype(int) - np.asarray(scene(320, 240))).mean() < 3


def test_twelve_bits_are_unsupported(read_bytes: Reading) -> None:
    data = bytearray(saved(scene(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    skipped = read_bytes(bytes(data))
    assert isinstance(skipped, Skipped)
    assert (skipped.reason, skipped.detail) == (SkipReason.UNSUPPORTED, "JPEG with 12 bits a sample")


def test_large_photoshop_document_is_unsupported(read_bytes: Reading) -> None:
    skipped = read_bytes(b"8BPS\0\2" + bytes(100))
    assert isinstance(skipped, Skipped)
    assert skipped.reason is SkipReason.UNSUPPORTED
