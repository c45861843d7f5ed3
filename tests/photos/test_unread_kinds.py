"""Unusual kinds of each format are either decoded correctly or named as unsupported, never called broken."""

from __future__ import annotations

import base64
import itertools
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import pyvips
from picture_files import Pixels, photoshop, png_chunk, saved, scene
from PIL import Image

from facecli.types import Photo, Skipped, SkipReason

Reading = Callable[[bytes], Photo | Skipped]
SIZE = WIDTH, HEIGHT = 37, 29
RGB = np.asarray(scene(*SIZE))
GRAY = np.ascontiguousarray(RGB[:, :, 1])
OPACITY = np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH).astype(np.uint8)
PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
pyvips.cache_set_max(0)  # it knows buffers by their addresses, which are used again


def pixels_of(photo: Photo | Skipped) -> Pixels:
    assert isinstance(photo, Photo), photo
    return photo.pixels


def named(photo: Photo | Skipped) -> str:
    assert isinstance(photo, Skipped), photo
    assert photo.reason is SkipReason.UNSUPPORTED, photo
    assert "'" not in photo.detail
    assert "nsupported" not in photo.detail
    return photo.detail


def rows_of(samples: Pixels, bits: int) -> list[bytes]:
    rows = samples.reshape(samples.shape[0], -1)
    if bits >= 8:
        return [row.astype(f">u{bits // 8}").tobytes() for row in rows]
    return [np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]).tobytes() for row in rows]


def png(samples: Pixels, bits: int, colours: int, interlaced: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of any kind."""
    parts = [samples[y::down, x::across] for x, y, across, down in PASSES] if interlaced else [samples]
    rows = b"".join(b"\0" + row for part in parts if part.size for row in rows_of(part, bits))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, colours, 0, 0, interlaced)
    made = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*chunk) for chunk in made)


def by_vips(data: bytes) -> Pixels:
    image = pyvips.Image.new_from_buffer(data, "")
    if image.hasalpha():
        image = image.flatten(background=[255 if image.format == "uchar" else 65535] * (image.bands - 1))
    pixels = image.colourspace("srgb").numpy()
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels[:, :, :3]


def pngs() -> dict[str, bytes]:
    """Every kind of PNG."""
    dice, made = np.random.default_rng(0), {}
    for bits, interlaced in itertools.product((1, 2, 4, 8, 16), (0, 1)):
        deep = 257 if bits == 16 else 1
        gray = GRAY.astype(int) * ((1 << bits) - 1) // 255
        made[f"gray {bits} {interlaced}"] = png(gray, bits, 0, interlaced)
        made[f"gray {bits} {interlaced} with a key"] = png(
            gray, bits, 0, interlaced, (b"tRNS", struct.pack(">H", int(gray[15, 20])))
        )
        if bits >= 8:
            made[f"RGB {bits} {interlaced}"] = png(RGB.astype(int) * deep, bits, 2, interlaced)
            made[f"gray and alpha {bits} {interlaced}"] = png(
                np.dstack((gray, OPACITY.astype(int) * deep)), bits, 4, interlaced
            )
            made[f"RGBA {bits} {interlaced}"] = png(np.dstack((RGB, OPACITY)).astype(int) * deep, bits, 6, interlaced)
        if bits <= 8:
            places, palette = (
                dice.integers(0, 1 << bits, (HEIGHT, WIDTH)),
                dice.integers(0, 256, 3 << bits).astype(np.uint8).tobytes(),
            )
            opacities = dice.integers(0, 256, 1 << bits).astype(np.uint8).tobytes()
            made[f"palette {bits} {interlaced}"] = png(places, bits, 3, interlaced, (b"PLTE", palette))
            made[f"palette and alpha {bits} {interlaced}"] = png(
                places, bits, 3, interlaced, (b"PLTE", palette), (b"tRNS", opacities)
            )
    made["RGB 8 with a key"] = png(RGB, 8, 2, 0, (b"tRNS", struct.pack(">HHH", *map(int, RGB[15, 20]))))
    return made


@pytest.mark.parametrize(("name", "data"), pngs().items(), ids=pngs().keys())
def test_png_equals_libvips(read_bytes: Reading, name: str, data: bytes) -> None:
    np.testing.assert_allclose(
        pixels_of(read_bytes(data)).astype(int), by_vips(data), atol=1 if "alpha" in name or "A" in name else 0
    )


def test_a_key_of_16_bits_is_named(read_bytes: Reading) -> None:
    assert "transparent colour" in named(
        read_bytes(png(RGB.astype(int) * 257, 16, 2, 0, (b"tRNS", struct.pack(">HHH", 1, 2, 3))))
    )


@pytest.mark.parametrize("most", [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("share", [1.0, 0.003])
def test_pnm_of_all_depths(read_bytes: Reading, most: int, share: float) -> None:
    """A dark picture of many bits stays dark."""
    for kind, samples in (("5", GRAY), ("6", RGB)):
        stored = (samples * share * most / 255).astype(int)
        shown = pixels_of(
            read_bytes(
                f"P{kind}\n{WIDTH} {HEIGHT}\n{most}\n".encode() + stored.astype(">u2" if most > 255 else "u1").tobytes()
            )
        )
        expected = stored * 255 / most if kind == "6" else np.repeat((stored * 255 / most)[:, :, None], 3, axis=2)
        np.testing.assert_allclose(shown.astype(float), expected, atol=1)


def run_lengths(rows: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> tuple[bytes, bytes]:
    """Rows compressed by PackBits, without a run, and the lengths of the rows."""
    made = [
        b"".join(bytes((len(part) - 1,)) + part for part in (row[i : i + 20] for i in range(0, len(row), 20)))
        for row in map(bytes, rows)
    ]
    return b"".join(made), struct.pack(f">{len(made)}H", *map(len, made))


PLANES = [np.ascontiguousarray(RGB[:, :, i]) for i in range(3)]
DEEP = [(plane.astype(np.uint16) * 257).astype(">u2").tobytes() for plane in PLANES]
INKS = np.asarray(scene(*SIZE).convert("CMYK"))
SHORT = [run_lengths(plane) for plane in PLANES]
GRAYS = np.repeat(GRAY[:, :, None], 3, axis=2)
PSDS: dict[str, tuple[bytes, Pixels]] = {
    "RGB": (photoshop((3, 8), [p.tobytes() for p in PLANES], SIZE), RGB),
    "RGB 16": (photoshop((3, 16), DEEP, SIZE), RGB),
    "RGB and a mask": (photoshop((3, 8), [*(p.tobytes() for p in PLANES), OPACITY.tobytes()], SIZE), RGB),
    "run lengths": (
        photoshop(
            (3, 8), [data for data, _ in SHORT], SIZE, packing=b"\0\1" + b"".join(lengths for _, lengths in SHORT)
        ),
        RGB,
    ),
    "gray": (photoshop((1, 8), [GRAY.tobytes()], SIZE), GRAYS),
    "gray 16": (photoshop((1, 16), [DEEP[1]], SIZE), GRAYS),
    "duotone": (photoshop((8, 8), [GRAY.tobytes()], SIZE, palette=b"inks"), GRAYS),
    "bitmap": (
        photoshop((0, 1), [np.packbits(GRAY > 99, axis=1).tobytes()], SIZE),
        np.where(GRAYS > 99, 0, 255).astype(np.uint8),
    ),
    "palette": (photoshop((2, 8), [GRAY.tobytes()], SIZE, palette=bytes(range(255, -1, -1)) * 3), 255 - GRAYS),
    "CMYK": (
        photoshop((4, 8), [(255 - INKS[:, :, i]).tobytes() for i in range(4)], SIZE),
        np.asarray(scene(*SIZE).convert("CMYK").convert("RGB")),
    ),
}


@pytest.mark.parametrize(("data", "expected"), PSDS.values(), ids=PSDS.keys())
def test_photoshop_documents(read_bytes: Reading, data: bytes, expected: Pixels) -> None:
    np.testing.assert_array_equal(pixels_of(read_bytes(data)), expected)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (photoshop((3, 32), DEEP * 2, SIZE), "PSD of 32 bits"),
        (photoshop((9, 8), [GRAY.tobytes()] * 3, SIZE), "PSD of CIELab"),
        (photoshop((7, 8), [GRAY.tobytes()] * 3, SIZE), "PSD of several channels"),
        (photoshop((3, 8), [GRAY.tobytes()] * 3, SIZE, packing=b"\0\2"), "PSD compressed by ZIP"),
    ],
)
def test_what_is_not_read_of_photoshop_is_named(read_bytes: Reading, data: bytes, said: str) -> None:
    assert said in named(read_bytes(data))


def test_half_a_photoshop_document(read_bytes: Reading) -> None:
    for size in (20, 40, 900):
        skipped = read_bytes(PSDS["RGB"][0][:size])
        assert isinstance(skipped, Skipped)
        assert skipped.reason is SkipReason.TRUNCATED
        assert "PSD" in skipped.detail


JPEG, PNG = saved(scene(*SIZE), "JPEG"), saved(scene(*SIZE), "PNG")


@pytest.mark.parametrize(
    ("marker", "said"),
    [
        (0xC3, "lossless JPEG"),
        (0xCB, "lossless JPEG"),
        (0xC5, "hierarchical JPEG"),
        (0xCE, "hierarchical JPEG"),
        (0xF7, "JPEG-LS"),
    ],
)
def test_kinds_of_jpeg_are_named(read_bytes: Reading, marker: int, said: str) -> None:
    assert named(read_bytes(JPEG.replace(b"\xff\xc0", bytes((0xFF, marker))))) == said


def test_components_and_late_heights_are_named(read_bytes: Reading) -> None:
    at = JPEG.index(b"\xff\xc0")
    assert "2 components" in named(read_bytes(JPEG[: at + 9] + b"\2" + JPEG[at + 10 :]))
    late = JPEG[: at + 5] + b"\0\0" + JPEG[at + 7 : -2] + struct.pack(">HHH", 0xFFDC, 4, HEIGHT) + JPEG[-2:]
    assert "height" in named(read_bytes(late))


def bmp(bits: int, packing: int, pixels: bytes, more: bytes = b"", *, header: int = 40) -> bytes:
    info = (
        struct.pack("<IiiHHIIiiII", header, WIDTH, HEIGHT, 1, bits, packing, len(pixels), 0, 0, 0, 0)
        + bytes(header - 40)
        + more
    )
    return b"BM" + struct.pack("<IHHI", 14 + len(info) + len(pixels), 0, 0, 14 + len(info)) + info + pixels


def test_bmp_of_fields_of_bits(read_bytes: Reading) -> None:
    red, green, blue = (RGB[::-1, :, i].astype(int) for i in range(3))
    row = np.zeros((HEIGHT, WIDTH + WIDTH % 2), "<u2")
    for packing, more, values in (
        (0, b"", red >> 3 << 10 | green >> 3 << 5 | blue >> 3),
        (3, struct.pack("<III", 0xF800, 0x7E0, 0x1F), red >> 3 << 11 | green >> 2 << 5 | blue >> 3),
    ):
        row[:, :WIDTH] = values
        shown = pixels_of(read_bytes(bmp(16, packing, row.tobytes(), more)))
        np.testing.assert_allclose(shown.astype(int), RGB, atol=8)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (bmp(0, 4, JPEG), "BMP that holds JPEG"),
        (bmp(0, 5, saved(scene(*SIZE), "PNG")), "BMP that holds PNG"),
        (bmp(32, 11, bytes(4 * WIDTH * HEIGHT)), "BMP that holds CMYK"),
        (bmp(64, 0, bytes(8 * WIDTH * HEIGHT)), "BMP of 64 bits a pixel"),
        (bmp(1, 3, bytes(400), header=64), "BMP compressed by Huffman codes"),
        (
            bmp(32, 3, bytes(4 * WIDTH * HEIGHT), struct.pack("<III", 0x3FF00000, 0xFFC00, 0x3FF)),
            "a kind of BMP that is not read",
        ),
    ],
)
def test_kinds_of_bmp_are_named(read_bytes: Reading, data: bytes, said: str) -> None:
    assert said in named(read_bytes(data))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"Pf\n3 2\n-1.0\n" + bytes(24), "PFM"),
        (b"PF\n3 2\n-1.0\n" + bytes(72), "PFM"),
        (b"P7\nWIDTH 3\nHEIGHT 2\nDEPTH 3\nMAXVAL 255\nENDHDR\n" + bytes(18), "PAM"),
        (b"\x76\x2f\x31\x01\2\0\0\0" + bytes(90), "OpenEXR"),
        (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 2 +X 3\n" + bytes(24), "Radiance"),
        (saved(scene(32, 32), "ICO"), "Windows icon"),
        (saved(scene(*SIZE), "PCX"), "PCX"),
        (saved(scene(*SIZE), "SGI"), "SGI"),
        (saved(scene(*SIZE), "DDS"), "DDS"),
        (saved(scene(32, 32), "ICNS"), "Apple icon"),
        (b"gimp xcf v011\0" + bytes(90), "GIMP"),
        (b"II\xbc\x01" + bytes(90), "JPEG XR"),
        (b"8BPS\0\2" + bytes(90), "PSB"),
        (b"\0\0\0\x18ftypavci\0\0\0\0mif1avci" + bytes(90), "HEIF picture of another compression"),
        (b"\0\0\0\x0cJXS \r\n\x87\n" + bytes(90), "JPEG XS"),
        (PNG[:8] + png_chunk(b"CgBI", b"P\0 \2") + PNG[8:], "PNG as Apple makes them"),
    ],
)
def test_pictures_of_formats_that_are_not_read_are_named(read_bytes: Reading, data: bytes, said: str) -> None:
    assert said in named(read_bytes(data))


def test_no_photo_is_taken_for_such_a_format() -> None:
    from facecli.photos.sniff import describe_unread, sniff

    for kind in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "QOI", "JPEG2000"):
        data = saved(Image.new("RGB", (300, 200)), kind)
        assert sniff(data[:64]) is not None
        assert describe_unread(data[:64]) == ""


@pytest.mark.parametrize("bits", [8, 16])
def test_deep_jpeg_2000(read_bytes: Reading, bits: int) -> None:
    """Nearly white pixels stay nearly white."""
    bright = np.asarray(scene(150, 130)).astype(np.uint16) // 2 + 128
    written, data = cv2.imencode(
        ".jp2", (bright[:, :, ::-1] * 257).astype(np.uint16) if bits == 16 else bright[:, :, ::-1].astype(np.uint8)
    )
    assert written
    for whole in (data.tobytes(), data.tobytes()[data.tobytes().index(b"\xff\x4f\xff\x51") :]):
        np.testing.assert_array_equal(pixels_of(read_bytes(whole)), bright.astype(np.uint8))


def test_too_large_a_jpeg_2000_is_named_before_it_is_opened(read_bytes: Reading) -> None:
    stream = saved(scene(*SIZE), "JPEG2000", no_jp2=True)
    huge = read_bytes(stream[:8] + struct.pack(">II", 1 << 17, 1 << 17) + stream[16:])
    assert isinstance(huge, Skipped)
    assert huge.reason is SkipReason.TOO_LARGE
    empty = read_bytes(stream[:8] + bytes(8) + stream[16:])
    assert isinstance(empty, Skipped)
    assert empty.reason is SkipReason.UNREADABLE


def test_what_is_not_read_of_jpeg_2000_is_named(read_bytes: Reading) -> None:
    stream = saved(scene(*SIZE), "JPEG2000", no_jp2=True)
    count = stream[:40] + b"\0\5" + stream[42 : 42 + 9] * 2 + stream[42:]
    assert "5 components" in named(read_bytes(count))
    assert "20 bits" in named(read_bytes(stream[:42] + b"\x13" + stream[43:]))
    alpha = saved(scene(*SIZE).convert("RGBA"), "JPEG2000", no_jp2=True)
    deep = alpha[:42] + b"\x0b\1\1" * 4 + alpha[54:]
    assert "12 bits a sample with opacity" in named(read_bytes(deep))


JXLS = {
    "10 bits a sample": ("/wpBUFBcCAgCAQBQAEsYixWSKCTEQegkTWhCE5rQhCYE"),
    "gray with opacity of 16 bits": (
        "/wpB8KMoLgQICBAAaAFLGJOOhYNJMO4C/GhNMQa3I8ZgBgYA9gAgw4pOp9PpdDrodDqdTqfTQafT6XQ6nQ6CBDqdTqfT6XTQ6XQ6nU6ng06n0+l0Oh10Op1Op9PpIMeg0+l0Op1O9wc="
    ),
    "floating-point numbers": (
        "/wpByAHFhQgCAQAMAksoJdaBgoKE9BQ7DwAAXw3YfAAAYCMAAAQAgAAAEAAAAgBAAAAIAAD7//8B+///Afv//wH3//8HAIAAABAAAAIAQAAACA"
        "AAAQDg/v9/wPv//w8AAAwAAAwAAAwAAAwAAAwAAAwAAPz////hAwCAAw8AAHwAAOABAIALAAAWAAAsAAAA"
    ),
}
"""Files written by libjxl with settings that Pillow's plug-in does not offer."""
DEEP_JXL = "/wpB8ANQXAgIAgEAWAFLGJOOg4NJMAatKcbgdsQYzMABQADUWaDT6XQ6nQ46nU6nu+vQ6XTQ6XQ6nU6ng06n0+l0Oh10Op1Op9PpgPGg0+l0Op1OB51Op9PpdDrodDqdTqfTAQ=="  # noqa: E501


@pytest.mark.parametrize(("said", "text"), JXLS.items(), ids=JXLS.keys())
def test_what_the_plug_in_reads_wrongly_of_jpeg_xl_is_named(read_bytes: Reading, said: str, text: str) -> None:
    assert said in named(read_bytes(base64.b64decode(text)))


def test_deep_jpeg_xl(read_bytes: Reading) -> None:
    steps = np.arange(64).reshape(8, 8) * 1000 >> 8
    np.testing.assert_array_equal(
        pixels_of(read_bytes(base64.b64decode(DEEP_JXL))), np.repeat(steps[:, :, None], 3, axis=2)
    )
