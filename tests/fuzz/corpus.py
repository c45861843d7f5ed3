"""Valid files of every format, as the input of the fuzzer."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pillow_heif
import pillow_jxl  # noqa: F401  # lets Pillow write JPEG XL
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "photos"))

from picture_files import (
    Pixels,
    TiffFile,
    exif_block,
    photoshop,
    png_chunk,
    raw_file,
    sampled,
    saved,
    scene,
    tiled_tiff,
    with_exif,
)
from tiff_files import Entries, TiffKind, file_of, put_picture, subsampled, tiff_file

UNITS: Entries = {258: (3, [8] * 3), 259: (3, [1]), 262: (3, [6]), 277: (3, [3]), 530: (3, [2, 2])}


def small_first(pixels: Pixels) -> bytes:
    """A TIFF file whose full picture is in a subdirectory of a small one."""
    file = TiffFile()
    below = put_picture(file, pixels, TiffKind())
    return file.finish(put_picture(file, pixels[::4, ::4], TiffKind(more={254: (4, [1]), 330: (4, [below])})))


def corpus() -> dict[str, bytes]:
    """Files by name; small, so that many can be tested."""
    pillow_heif.register_heif_opener()
    picture, exif = scene(), exif_block(6)
    pixels = np.asarray(picture)
    palette, blank = picture.quantize(64), Image.new("RGB", picture.size, "white")
    rgba = picture.convert("RGBA")
    rgba.putalpha(picture.convert("L"))
    png = saved(picture, "PNG")
    jpeg = saved(picture, "JPEG", quality=90)
    return {
        "baseline.jpg": jpeg,
        "progressive.jpg": saved(picture, "JPEG", progressive=True),
        "exif.jpg": with_exif(jpeg, 6),
        "sampled.jpg": sampled(with_exif(jpeg, 6)),
        "gray.jpg": saved(picture.convert("L"), "JPEG"),
        "print.jpg": saved(picture.convert("CMYK"), "JPEG"),
        "restart.jpg": saved(picture, "JPEG", restart_marker_blocks=2),
        "frames.mpo": saved(picture, "MPO", save_all=True, append_images=[blank]),
        "plain.png": png,
        "alpha.png": saved(rgba, "PNG"),
        "palette.png": saved(palette, "PNG", transparency=bytes(range(64))),
        "gray16.png": saved(picture.convert("I;16"), "PNG"),
        "bits.png": saved(picture.convert("1"), "PNG"),
        "exif.png": png[:33] + png_chunk(b"eXIf", exif) + png[33:],
        "animated.png": saved(picture, "PNG", save_all=True, append_images=[blank]),
        "lossy.webp": saved(picture, "WEBP", exif=exif),
        "lossless.webp": saved(rgba, "WEBP", lossless=True),
        "animated.webp": saved(picture, "WEBP", save_all=True, append_images=[blank]),
        "frames.gif": saved(palette, "GIF", save_all=True, append_images=[blank.quantize(4)]),
        "plain.bmp": saved(picture, "BMP"),
        "palette.bmp": saved(palette, "BMP"),
        "plain.tif": saved(picture, "TIFF"),
        "lzw.tif": saved(picture, "TIFF", compression="tiff_lzw", tiffinfo={0x0112: 6}),
        "deflate.tif": saved(picture, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": saved(picture, "TIFF", compression="jpeg"),
        "fax.tif": saved(picture.convert("1"), "TIFF", compression="group4"),
        "tiles.tif": tiled_tiff(scene(64, 64), 32),
        "planes.tif": tiff_file(pixels * np.uint16(257), TiffKind(bits=16, order=">", separate=True, rows=9)),
        "big.tif": tiff_file(pixels, TiffKind(order=">", big=True, tile=(32, 16))),
        "bits.tif": tiff_file(pixels >> 4, TiffKind(bits=4, reversed_bits=True)),
        "opacity.tif": tiff_file(np.asarray(rgba), TiffKind(more={338: (3, [1])})),
        "units.tif": file_of(subsampled(np.asarray(picture.convert("YCbCr")), 2, 2), picture.size, UNITS),
        "inks.tif": saved(picture.convert("CMYK"), "TIFF", compression="packbits"),
        "places.tif": saved(palette, "TIFF", compression="tiff_lzw"),
        "below.tif": small_first(pixels),
        "plain.psd": photoshop((3, 8), [pixels[:, :, i].tobytes() for i in range(3)], picture.size),
        "deep.psd": photoshop((1, 16), [(pixels[:, :, 1] * np.uint16(257)).astype(">u2").tobytes()], picture.size),
        "plain.avif": saved(picture, "AVIF", exif=exif),
        "plain.heic": saved(picture, "HEIF", exif=exif),
        "plain.jxl": saved(picture, "JXL", lossless=True),
        "plain.jp2": saved(picture, "JPEG2000"),
        "deep.jp2": cv2.imencode(".jp2", np.asarray(scene(128, 128)).astype(np.uint16) * np.uint16(257))[1].tobytes(),
        "stream.j2k": saved(picture, "JPEG2000", no_jp2=True),
        "camera.dng": raw_file(picture, jpeg, orientation=6),
        "sensor.dng": raw_file(picture, None),
        "plain.ppm": saved(picture, "PPM"),
        "plain.qoi": saved(picture.resize((24, 16)), "QOI"),
    }
