"""Every TIFF layout is decoded correctly or named as unsupported; the reference is libvips or the picture itself."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import pyvips
from msgspec.structs import replace
from picture_files import Pixels, TiffFile, saved, scene
from PIL import Image
from tiff_files import Entries, TiffKind, file_of, put_picture, spread, subsampled, tiff_file

from facecli.photos.tiff.directory import is_raw
from facecli.types import Photo, Skipped, SkipReason

Reading = Callable[[bytes], Photo | Skipped]
SIZE = WIDTH, HEIGHT = 97, 61
RGB = np.asarray(scene(*SIZE))
GRAY = RGB[:, :, 1:2]
OPACITY = np.linspace(0, 255, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH, 1).astype(np.uint8)
FILES = ("<", False), (">", False), ("<", True), (">", True)
"""Both byte orders, classic and BigTIFF."""
pyvips.cache_set_max(0)  # it knows buffers by their addresses, which are used again


def pixels_of(photo: Photo | Skipped) -> Pixels:
    assert isinstance(photo, Photo), photo
    return photo.pixels


def equal(photo: Photo | Skipped, expected: Pixels, *, within: int = 0) -> None:
    np.testing.assert_allclose(pixels_of(photo).astype(int), expected.astype(int), atol=within)


def by_vips(data: bytes) -> Pixels:
    """The pixels as read by libvips: upright, RGB, on white."""
    image = pyvips.Image.new_from_buffer(data, "").autorot()
    if image.hasalpha():
        image = image.flatten(background=[255 if image.format == "uchar" else 65535] * (image.bands - 1))
    pixels = image.colourspace("srgb").numpy()
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels[:, :, :3]


def eight(samples: np.ndarray[tuple[int, ...], np.dtype[np.int64]], bits: int) -> Pixels:
    return (samples >> bits - 8 if bits >= 8 else samples * 255 // ((1 << bits) - 1)).astype(np.uint8)


@pytest.mark.parametrize(("order", "big"), FILES)
@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 7, 8, 10, 12, 14, 16])
def test_gray_of_all_depths(read_bytes: Reading, bits: int, order: str, *, big: bool) -> None:
    stored = spread(GRAY, bits)
    for photometric, turned in itertools.product((0, 1), (False, True)):
        data = tiff_file(
            stored, TiffKind(bits=bits, photometric=photometric, order=order, big=big, reversed_bits=turned)
        )
        shown = eight(stored, bits) if photometric else 255 - eight(stored, bits)
        equal(read_bytes(data), np.repeat(shown, 3, axis=2))
        if bits in (1, 2, 4, 8, 16):
            equal(read_bytes(data), by_vips(data))


def test_colours_of_all_depths_and_layouts(read_bytes: Reading) -> None:
    for (order, big), bits, separate in itertools.product(FILES, (4, 8, 12, 16), (False, True)):
        stored = spread(RGB, bits)
        for rows, tile, deflated in itertools.product((0, 7), ((0, 0), (32, 16)), (False, True)):
            if deflated and bits not in (8, 16):
                continue
            kind = TiffKind(bits=bits, order=order, big=big, separate=separate, rows=rows, tile=tile, deflated=deflated)
            data = tiff_file(stored, kind)
            equal(read_bytes(data), eight(stored, bits))
            if bits in (8, 16) and not (separate and tile[0]):
                equal(read_bytes(data), by_vips(data))


def composed(colours: Pixels) -> Pixels:
    share = OPACITY / 255
    return np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("separate", [False, True])
def test_the_transparent_is_white(read_bytes: Reading, bits: int, *, separate: bool) -> None:
    for colours, photometric, associated in itertools.product((GRAY, RGB), (1, 2), (False, True)):
        if (colours.shape[2] == 1) is not (photometric == 1):
            continue
        stored = np.rint(colours * (OPACITY / 255)).astype(np.uint8) if associated else colours
        more: Entries = {338: (3, [1 if associated else 2])}
        kind = TiffKind(bits=bits, photometric=photometric, separate=separate, more=more)
        data = tiff_file(spread(np.dstack((stored, OPACITY)), bits), kind)
        equal(read_bytes(data), np.broadcast_to(composed(colours), RGB.shape), within=1)
        if not (separate and photometric == 1):  # libvips takes the second plane of two for something else
            equal(read_bytes(data), by_vips(data), within=1)


@pytest.mark.parametrize("extra", [[0], [0, 0], [0, 2], [2, 0]])
def test_further_samples_change_nothing_but_for_the_opacity(read_bytes: Reading, extra: Sequence[int]) -> None:
    planes = [OPACITY if kind == 2 else GRAY for kind in extra]
    data = tiff_file(np.dstack((RGB, *planes)), TiffKind(more={338: (3, extra)}))
    equal(read_bytes(data), composed(RGB) if 2 in extra else RGB, within=1)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
@pytest.mark.parametrize("scale", [1, 256, 257])
def test_palettes(read_bytes: Reading, bits: int, scale: int) -> None:
    dice = np.random.default_rng(bits)
    palette, places = dice.integers(0, 256, (3, 1 << bits)), dice.integers(0, 1 << bits, (HEIGHT, WIDTH, 1))
    palette[0, 0] = 255
    for order in "<>":
        kind = TiffKind(bits=bits, photometric=3, order=order, more={320: (3, (palette * scale).ravel().tolist())})
        data = tiff_file(places, kind)
        equal(read_bytes(data), palette.T[places[:, :, 0]].astype(np.uint8))
        equal(read_bytes(data), by_vips(data))


@pytest.mark.parametrize("bits", [8, 16])
def test_inks(read_bytes: Reading, bits: int) -> None:
    inks = scene(*SIZE).convert("CMYK")
    for separate in (False, True):
        data = tiff_file(spread(np.asarray(inks), bits), TiffKind(bits=bits, photometric=5, separate=separate))
        equal(read_bytes(data), np.asarray(inks.convert("RGB")))


@pytest.mark.parametrize("across", [1, 2, 4])
@pytest.mark.parametrize("down", [1, 2, 4])
def test_brightness_and_colour(read_bytes: Reading, across: int, down: int) -> None:
    ycbcr = np.asarray(scene(*SIZE).convert("YCbCr"))
    plain: Entries = {258: (3, [8] * 3), 259: (3, [1]), 262: (3, [6]), 277: (3, [3]), 530: (3, [across, down])}
    data = file_of(subsampled(ycbcr, across, down), SIZE, plain)
    shown = pixels_of(read_bytes(data)).astype(int)
    assert np.abs(shown - RGB).mean() < 1 + 1.6 * (across * down - 1)
    if down < 4 and (across, down) != (1, 1):  # which libvips reads as other pixels, or not at all
        equal(read_bytes(data), by_vips(data), within=1)
        for tag, values in (
            (529, [2126, 10000, 7152, 10000, 722, 10000]),
            (532, [16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1]),
        ):
            other = file_of(subsampled(ycbcr, across, down), SIZE, {**plain, tag: (5, values)})
            equal(read_bytes(other), by_vips(other), within=3)  # libtiff counts in whole numbers


def test_all_compressions_of_libvips(read_bytes: Reading) -> None:
    colour = pyvips.Image.new_from_array(RGB)
    gray = pyvips.Image.new_from_array(GRAY[:, :, 0]).copy(interpretation="b-w")
    deep = (colour.cast("ushort") * 257).cast("ushort").copy(interpretation="rgb16")
    plain = [
        (image, {"compression": c, "predictor": p})
        for image in (colour, gray, deep)
        for c in ("lzw", "deflate")
        for p in ("none", "horizontal")
    ]
    packed = [(image, {"compression": "packbits"}) for image in (colour, gray, deep)]
    lossy = [(image, {"compression": "jpeg", "Q": quality}) for image in (colour, gray) for quality in (60, 95)]
    webp = [(colour, {"compression": "webp", "lossless": True})]
    bits = [
        (gray, {"bitdepth": b, "miniswhite": white, "compression": c, "predictor": "none"})
        for b in (1, 2, 4)
        for white in (False, True)
        for c in ("none", "lzw")
    ]
    fax = [(gray, {"bitdepth": 1, "miniswhite": white, "compression": "ccittfax4"}) for white in (False, True)]
    for image, options in [*plain, *packed, *lossy, *webp, *bits, *fax]:
        for layout in ({}, {"tile": True, "tile_width": 32, "tile_height": 16}, {"bigtiff": True}):
            data = image.tiffsave_buffer(**options, **layout)
            equal(read_bytes(data), by_vips(data))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "CMYK"])
def test_all_compressions_of_pillow(read_bytes: Reading, mode: str) -> None:
    image = scene(*SIZE).convert(mode)
    fax = ["group3", "group4", "tiff_ccitt"] if mode == "1" else []
    for compression in ["tiff_lzw", "packbits", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd", *fax]:
        equal(read_bytes(saved(image, "TIFF", compression=compression)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("options", [0, 1, 4, 5])
def test_options_of_faxes(read_bytes: Reading, options: int) -> None:
    image = scene(*SIZE).convert("1")
    equal(
        read_bytes(saved(image, "TIFF", compression="group3", tiffinfo={292: options})),
        np.asarray(image.convert("RGB")),
    )


@pytest.mark.parametrize("mode", ["LA", "RGBA", "CMYK"])
def test_jpeg_of_unusual_samples(read_bytes: Reading, mode: str) -> None:
    image = scene(*SIZE).convert("RGBA" if mode.endswith("A") else mode)
    if mode.endswith("A"):
        image.putalpha(scene(*SIZE).convert("L"))
    data = saved(image.convert(mode), "TIFF", compression="jpeg", quality=95)
    with Image.open(io.BytesIO(data)) as stored:
        expected = stored.convert("RGBA") if mode.endswith("A") else stored.convert("RGB")
    white = Image.new("RGBA", SIZE, "white")
    equal(read_bytes(data), np.asarray(Image.alpha_composite(white, expected.convert("RGBA")).convert("RGB")), within=1)


@pytest.mark.parametrize("said", [{}, *({530: (3, [a, b])} for a, b in ((1, 1), (2, 1), (2, 2)))])
@pytest.mark.parametrize("sampling", [0, 1, 2])
def test_jpeg_tells_its_own_sampling(read_bytes: Reading, sampling: int, said: Entries) -> None:
    """The entry in the directory does not matter, since some programs omit it or write a wrong one."""
    stream = saved(scene(*SIZE), "JPEG", quality=95, subsampling=sampling)
    expected = np.asarray(Image.open(io.BytesIO(stream)).convert("RGB"))
    entries: Entries = {258: (3, [8] * 3), 259: (3, [7]), 262: (3, [6]), 277: (3, [3])}
    equal(read_bytes(file_of(stream, SIZE, entries | said)), expected, within=1)
    if sampling:  # RGB is never stored like that
        equal(read_bytes(file_of(stream, SIZE, {**entries, 262: (3, [2])})), expected, within=1)


def test_jpeg_2000_within(read_bytes: Reading) -> None:
    stream = saved(scene(*SIZE), "JPEG2000", no_jp2=True)
    equal(read_bytes(file_of(stream, SIZE, {258: (3, [8] * 3), 259: (3, [34712]), 262: (3, [2]), 277: (3, [3])})), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(read_bytes: Reading, orientation: int) -> None:
    for order, big in FILES:
        data = tiff_file(RGB, TiffKind(order=order, big=big, more={274: (3, [orientation])}))
        equal(read_bytes(data), by_vips(data))


SMALL = np.asarray(scene(24, 15))


@pytest.mark.parametrize(("order", "big"), FILES)
@pytest.mark.parametrize("marks", [{254: (4, [1])}, {255: (3, [2])}, {}])
def test_the_full_picture_below_a_small_one(read_bytes: Reading, marks: Entries, order: str, *, big: bool) -> None:
    kind = TiffKind(order=order, big=big)
    file = TiffFile(order, big=big)
    below = put_picture(file, RGB, kind)
    first = put_picture(file, SMALL, replace(kind, more={**marks, 330: (16 if big else 4, [below])}))
    equal(read_bytes(file.finish(first)), RGB)
    turned = put_picture(file, SMALL, replace(kind, more={**marks, 274: (3, [3]), 330: (16 if big else 4, [below])}))
    equal(read_bytes(file.finish(turned)), RGB[::-1, ::-1])


def test_the_full_picture_after_a_small_one(read_bytes: Reading) -> None:
    file = TiffFile()
    page = put_picture(file, RGB, TiffKind())
    equal(read_bytes(file.finish(put_picture(file, SMALL, TiffKind(more={254: (4, [1])}), page))), RGB)


def test_smaller_copies_and_further_pages_are_passed_over(read_bytes: Reading) -> None:
    file = TiffFile()
    page = put_picture(file, np.asarray(scene(200, 100)), TiffKind(more={254: (4, [2])}))
    small = put_picture(file, SMALL, TiffKind(more={254: (4, [1])}))
    equal(read_bytes(file.finish(put_picture(file, RGB, TiffKind(more={330: (4, [small])}), page))), RGB)


def test_directories_in_a_circle_end(read_bytes: Reading) -> None:
    file = TiffFile()
    first = put_picture(file, SMALL, TiffKind(more={254: (4, [1])}))
    data = bytearray(file.finish(first))
    data[-4:] = first.to_bytes(4, "little")
    equal(read_bytes(bytes(data)), SMALL)


def named(photo: Photo | Skipped) -> str:
    assert isinstance(photo, Skipped), photo
    assert photo.reason is SkipReason.UNSUPPORTED, photo
    assert len(photo.detail.split()) >= 3
    assert "'" not in photo.detail
    return photo.detail


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({259: (3, [6])}, "compressed by old-style JPEG"),
        ({259: (3, [34661])}, "compressed by JBIG"),
        ({259: (3, [34676])}, "compressed by LogLuv"),
        ({259: (3, [34712])}, "compressed by JPEG 2000"),
        ({259: (3, [34887])}, "compressed by LERC"),
        ({259: (3, [50001])}, "compressed by WebP"),
        ({259: (3, [50002])}, "compressed by JPEG XL"),
        ({259: (3, [61234])}, "compressed by an unknown method, number 61234"),
        ({262: (3, [4])}, "a mask"),
        ({262: (3, [8])}, "CIELab"),
        ({262: (3, [9])}, "ICCLab"),
        ({262: (3, [32844])}, "LogL"),
        ({262: (3, [32845])}, "LogLuv"),
        ({262: (3, [999])}, "an unknown kind of colours"),
        ({339: (3, [2])}, "signed numbers"),
        ({339: (3, [3])}, "floating-point numbers"),
        ({339: (3, [6])}, "complex numbers"),
        ({258: (3, [5, 6, 5])}, "differ in their bits"),
        ({258: (3, [32] * 3)}, "32 bits a sample"),
        ({258: (3, [64] * 3)}, "64 bits a sample"),
        ({259: (3, [5]), 317: (3, [3])}, "predictor"),
        ({259: (3, [7]), 258: (3, [12] * 3)}, "JPEG of 12 bits"),
    ],
)
def test_what_is_not_read_is_named(read_bytes: Reading, more: Entries, said: str) -> None:
    assert said in named(read_bytes(tiff_file(RGB, TiffKind(more=more))))


def test_other_inks_are_named(read_bytes: Reading) -> None:
    assert "inks other than" in named(
        read_bytes(tiff_file(np.dstack((RGB, GRAY)), TiffKind(photometric=5, more={332: (3, [2])})))
    )


def test_kinds_of_jpeg_within_are_named(read_bytes: Reading) -> None:
    for marker, said in ((0xC3, "lossless JPEG"), (0xF7, "JPEG-LS")):
        stream = saved(scene(*SIZE), "JPEG").replace(b"\xff\xc0", bytes((0xFF, marker)))
        assert said in named(
            read_bytes(file_of(stream, SIZE, {258: (3, [8] * 3), 259: (3, [7]), 262: (3, [6]), 277: (3, [3])}))
        )


def test_sizes_that_the_file_does_not_tell(read_bytes: Reading) -> None:
    for more, kind in itertools.product(({279: (4, [])}, {279: (4, [0])}), (TiffKind(), TiffKind(deflated=True))):
        equal(read_bytes(tiff_file(RGB, replace(kind, more=more))), RGB)


BROKEN_SIZES: tuple[Entries, ...] = (
    {273: (4, [])},
    {256: (4, [0])},
    {322: (4, [0]), 323: (4, [9])},
    {322: (4, [1 << 20]), 323: (4, [1 << 20])},
)
NO_SUCH_STREAM: tuple[Entries, ...] = tuple({259: (3, [packing])} for packing in (5, 7, 8, 34925, 50000))


def test_what_is_missing_or_broken_is_told_apart(read_bytes: Reading) -> None:
    for order, big in FILES:
        data = tiff_file(RGB, TiffKind(order=order, big=big))
        for part in (data[:200], data[:-100], data[:9]):
            skipped = read_bytes(part)
            assert isinstance(skipped, Skipped)
            assert skipped.reason is SkipReason.TRUNCATED
    for more in (*BROKEN_SIZES, *NO_SUCH_STREAM):
        skipped = read_bytes(tiff_file(RGB, TiffKind(more=more)))
        assert isinstance(skipped, Skipped)
        assert skipped.reason is SkipReason.UNREADABLE, more


def test_jpeg_tables_that_are_cut_are_missing(read_bytes: Reading) -> None:
    """With only some of them, the pixels would be silently wrong."""
    data = saved(scene(*SIZE), "TIFF", compression="jpeg")
    tables = data.rindex(b"\xff\xd8")
    for end in range(tables + 1, len(data), 7):
        skipped = read_bytes(data[:end])
        assert isinstance(skipped, Skipped), end
        assert skipped.reason is SkipReason.TRUNCATED


def test_numbers_that_are_none_end_nothing() -> None:
    """The choice of the reader of a file is made outside the handling of decoder errors."""
    dice = np.random.default_rng(7)
    for order, big in FILES:
        data = tiff_file(SMALL, TiffKind(order=order, big=big, more={330: (4, [1 << 30])}))
        start = len(data) - (400 if big else 240)
        for _ in range(2000):
            changed = bytearray(data)
            for place in dice.integers(start, len(data), 3):
                changed[place] = dice.integers(0, 256)
            is_raw(bytes(changed))
