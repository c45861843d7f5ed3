"""The layout of the picture in a TIFF directory, or the reason why it is not supported."""

from __future__ import annotations

from enum import IntEnum

from msgspec import Struct

from facecli.photos.jpeg import unread_kind
from facecli.photos.refusal import Refusal, unreadable, unsupported
from facecli.photos.tiff.directory import COMPRESSION, PHOTOMETRIC, Directory, needs_pixels

_BITS, _SAMPLES, _PLANES, _FORMAT, _EXTRA = 258, 277, 284, 339, 338
_FILL_ORDER, _PREDICTOR, _INKS = 266, 317, 332
_ROWS, _STRIPS, _STRIP_SIZES = 278, 273, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILES, _TILE_SIZES = 322, 323, 324, 325
_PALETTE, _SUBSAMPLING, _COEFFICIENTS, _REFERENCES = 320, 530, 529, 532
_TABLES, _FAX_OPTIONS = 347, (292, 293)
_JPEG_HEAD = 1 << 16
_MOST_CHUNKS = 1 << 22
_MOST_TILE = 1 << 26
"""Most pixels of a tile that is larger than its picture."""


class Colours(IntEnum):
    """Photometric interpretation, with the numbers of the format."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    CMYK = 5
    YCBCR = 6


class Packing(IntEnum):
    """Compression, with the numbers of the format."""

    NONE = 1
    FAX_RLE = 2
    FAX_3 = 3
    FAX_4 = 4
    LZW = 5
    JPEG = 7
    DEFLATE = 8
    FAX_RLE_WORDS = 32771
    PACK_BITS = 32773
    OLD_DEFLATE = 32946
    LZMA = 34925
    JPEG_2000 = 34712
    ZSTANDARD = 50000
    WEBP = 50001


FAX = (Packing.FAX_RLE, Packing.FAX_3, Packing.FAX_4, Packing.FAX_RLE_WORDS)
EMBEDDED = {Packing.JPEG_2000: ("JPEG 2000", b"\xff\x4f\xff\x51"), Packing.WEBP: ("WebP", b"RIFF")}
"""Compressions whose chunks are whole files of another format: its name, and the first bytes of such files."""
_DIFFERENCED = (Packing.LZW, Packing.DEFLATE, Packing.OLD_DEFLATE, Packing.LZMA, Packing.ZSTANDARD)
"""The compressions for which libtiff applies a predictor."""
_UNREAD_PACKINGS = {
    6: "old-style JPEG",
    9: "JBIG",
    10: "JBIG",
    22610: "JPEG XR",
    32766: "NeXT",
    32809: "ThunderScan",
    32895: "IT8",
    32908: "Pixar film",
    32909: "PixarLog",
    32947: "Kodak DCS",
    33003: "JPEG 2000",
    33004: "JPEG 2000",
    33005: "JPEG 2000",
    34661: "JBIG",
    34676: "LogLuv",
    34677: "LogLuv",
    34715: "JBIG2",
    34887: "LERC",
    34892: "lossy JPEG of a DNG",
    34933: "PNG",
    34934: "JPEG XR",
    50002: "JPEG XL",
    52546: "JPEG XL",
}
_UNREAD_COLOURS = {
    4: "a mask",
    8: "CIELab colours",
    9: "ICCLab colours",
    10: "ITULab colours",
    32844: "LogL luminance",
    32845: "LogLuv colours",
    51177: "depths",
}
_UNREAD_SAMPLES = {2: "signed numbers", 3: "floating-point numbers", 5: "complex numbers", 6: "complex numbers"}


class SampleLayout(Struct, frozen=True, kw_only=True):
    """A picture of unsigned samples in strips or tiles."""

    kind: str = "TIFF"
    """The format of the file, for messages."""
    width: int
    height: int
    colours: Colours
    packing: Packing
    bits: int
    samples: int
    """Samples per pixel."""
    separate: bool
    """Whether each sample has a plane of its own."""
    tiled: bool = False
    chunk_width: int
    chunk_height: int
    places: tuple[int, ...]
    sizes: tuple[int, ...]
    differenced: bool = False
    reversed_bits: bool = False
    alpha: int | None = None
    """The index of the alpha sample."""
    associated: bool = False
    """Whether colours are already multiplied by alpha."""
    palette: tuple[int, ...] = ()
    inverted: bool = False
    """Whether ink values are inverted: 255 is no ink."""
    subsampling: tuple[int, int] = (1, 1)
    coefficients: tuple[float, ...] = ()
    references: tuple[float, ...] = ()
    tables: bytes = b""
    """JPEG tables shared by all chunks."""
    fax_options: tuple[int, int] = (0, 0)

    @property
    def is_subsampled(self) -> bool:
        """Whether chroma has fewer samples than luma; False for JPEG, whose decoder upsamples it."""
        return self.colours is Colours.YCBCR and self.packing is not Packing.JPEG and self.subsampling != (1, 1)

    @property
    def across(self) -> int:
        """Number of chunks side by side."""
        return -(-self.width // self.chunk_width)

    @property
    def down(self) -> int:
        """Number of chunks one below the other."""
        return -(-self.height // self.chunk_height)


def check_chunks(layout: SampleLayout, data: bytes) -> None:
    """Raise Refusal for a variety of a known compression that is not supported."""
    if layout.packing in EMBEDDED and layout.places:
        name, start = EMBEDDED[layout.packing]
        if layout.separate or not data.startswith(start, layout.places[0]):
            raise unsupported(f"TIFF compressed by {name} in an unusual way")
    if layout.packing is Packing.JPEG and layout.places:
        try:
            kind = unread_kind(data[layout.places[0] : layout.places[0] + _JPEG_HEAD])
        except Refusal as refusal:  # not a JPEG at all: broken rather than cut off
            raise unreadable("the TIFF file is broken") from refusal
        if kind:
            raise unsupported(f"TIFF compressed by {kind}")


def layout_of(directory: Directory) -> SampleLayout:
    """The layout of the picture in a directory; raises Refusal if it is broken or not supported."""
    width, height = needs_pixels(directory)
    samples, packing = directory.number(_SAMPLES, 1), _packing(directory)
    colours = _colours(directory, samples, packing)
    bits = _bits(directory, samples)
    _check_samples(colours, packing, bits, samples)
    alpha, associated = _alpha(directory, colours, samples)
    chunk_width, chunk_height = _chunk_size(directory, width, height)
    horizontal, vertical = (*_integers(directory, _SUBSAMPLING), 2, 2)[:2] if colours is Colours.YCBCR else (1, 1)
    layout = SampleLayout(
        width=width,
        height=height,
        colours=colours,
        packing=packing,
        bits=bits,
        samples=samples,
        separate=directory.number(_PLANES, 1) == 2 and samples > 1,
        tiled=_TILE_WIDTH in directory,
        chunk_width=chunk_width,
        chunk_height=chunk_height,
        places=_integers(directory, _TILES if _TILES in directory else _STRIPS),
        sizes=_integers(directory, _TILE_SIZES if _TILE_SIZES in directory else _STRIP_SIZES),
        differenced=_is_differenced(directory, packing, bits),
        reversed_bits=directory.number(_FILL_ORDER, 1) == 2,
        alpha=alpha,
        associated=associated,
        palette=_palette(directory, bits) if colours is Colours.PALETTE else (),
        subsampling=(horizontal, vertical),
        coefficients=_rationals(directory, _COEFFICIENTS, 3),
        references=_rationals(directory, _REFERENCES, 6),
        tables=directory.raw(_TABLES),
        fax_options=(directory.number(_FAX_OPTIONS[0], 0), directory.number(_FAX_OPTIONS[1], 0)),
    )
    _check_layout(layout)
    return layout


def _integers(directory: Directory, tag: int) -> tuple[int, ...]:
    return tuple(value for value in directory.values(tag) if isinstance(value, int))


def _rationals(directory: Directory, tag: int, count: int) -> tuple[float, ...]:
    """The rational numbers of a tag; empty unless there are exactly `count` of them, without a zero denominator."""
    parts = directory.values(tag)
    pairs = list(zip(parts[::2], parts[1::2], strict=False))
    return tuple(a / b for a, b in pairs) if len(pairs) == count and all(b for _, b in pairs) else ()


def _packing(directory: Directory) -> Packing:
    number = directory.number(COMPRESSION, 1)
    try:
        return Packing(number)
    except ValueError:
        name = _UNREAD_PACKINGS.get(number, f"an unknown method, number {number}")
        raise unsupported(f"TIFF compressed by {name}") from None


def _bits(directory: Directory, samples: int) -> int:
    formats = {*_integers(directory, _FORMAT)} - {1, 4}
    if formats:
        raise unsupported(f"TIFF of {_UNREAD_SAMPLES.get(min(formats), 'numbers of an unknown kind')}")
    bits = {*_integers(directory, _BITS)} or {1}
    if len(bits) > 1:
        raise unsupported("TIFF of samples that differ in their bits")
    (found,) = bits
    if found > 16:
        raise unsupported(f"TIFF of {found} bits a sample")
    if found < 1 or not 1 <= samples <= 64:
        raise unreadable("a TIFF file with a broken header")
    return found


def _colours(directory: Directory, samples: int, packing: Packing) -> Colours:
    assumed = Colours.RGB if samples >= 3 else Colours.WHITE_IS_ZERO if packing in FAX else Colours.BLACK_IS_ZERO
    number = directory.number(PHOTOMETRIC, assumed)
    if number == Colours.CMYK and directory.number(_INKS, 1) != 1:
        raise unsupported("TIFF with inks other than cyan, magenta, yellow and black")
    try:
        return Colours(number)
    except ValueError:
        name = _UNREAD_COLOURS.get(number, f"an unknown kind of colours, number {number}")
        raise unsupported(f"TIFF of {name}") from None


_FEWEST = {Colours.RGB: 3, Colours.CMYK: 4, Colours.YCBCR: 3}


def _check_samples(colours: Colours, packing: Packing, bits: int, samples: int) -> None:
    if samples < _FEWEST.get(colours, 1):
        raise unsupported(f"TIFF of {colours.name} with too few samples a pixel")
    if packing is Packing.JPEG and bits != 8:
        raise unsupported(f"TIFF compressed by JPEG of {bits} bits a sample")
    further = samples - _FEWEST.get(colours, 1)
    if packing is Packing.JPEG and further > (colours is not Colours.CMYK):
        raise unsupported("TIFF compressed by JPEG with extra samples")
    if packing in EMBEDDED and (bits != 8 or further > 1 or colours not in (Colours.BLACK_IS_ZERO, Colours.RGB)):
        raise unsupported(f"TIFF compressed by {EMBEDDED[packing][0]} in an unusual layout")
    if packing in FAX and (bits, samples) != (1, 1):
        raise unreadable("a TIFF file with a broken header")
    if colours is Colours.YCBCR and bits != 8:
        raise unsupported(f"TIFF of YCbCr with {bits} bits a sample")


def _alpha(directory: Directory, colours: Colours, samples: int) -> tuple[int | None, bool]:
    """The index of the alpha sample, and whether colours are multiplied by it.

    RGB with an undescribed fourth sample is RGBA, as in all other readers.
    """
    own = _FEWEST.get(colours, 1)
    extra = _integers(directory, _EXTRA)
    if not extra and colours is Colours.RGB and samples == own + 1:
        return own, False
    for number, kind in enumerate(extra[: samples - own], own):
        if kind in (1, 2):
            return number, kind == 1
    return None, False


def _chunk_size(directory: Directory, width: int, height: int) -> tuple[int, int]:
    if _TILE_WIDTH not in directory:
        rows = directory.number(_ROWS, height)
        return width, min(rows, height) if rows > 0 else height
    tile = directory.number(_TILE_WIDTH, 0), directory.number(_TILE_HEIGHT, 0)
    if min(tile) < 1 or tile[0] * tile[1] > max(_MOST_TILE, 4 * width * height):
        raise unreadable("a TIFF file with tiles of a broken size")
    return tile


def _is_differenced(directory: Directory, packing: Packing, bits: int) -> bool:
    predictor = directory.number(_PREDICTOR, 1)
    if packing not in _DIFFERENCED or predictor == 1:
        return False
    if predictor != 2 or bits not in (8, 16):
        raise unsupported("TIFF with an unknown predictor")
    return True


def _palette(directory: Directory, bits: int) -> tuple[int, ...]:
    palette = _integers(directory, _PALETTE)
    if len(palette) < 3 << bits:
        raise unreadable("a TIFF file with a broken palette")
    return palette


def _check_layout(layout: SampleLayout) -> None:
    if layout.across * layout.down > _MOST_CHUNKS:
        raise unreadable("a TIFF file of too many strips or tiles")
    if any(factor not in (1, 2, 4) for factor in layout.subsampling):
        raise unreadable("a TIFF file with a broken header")
    if layout.is_subsampled and (layout.separate or layout.differenced or layout.samples != 3):
        raise unsupported("TIFF of YCbCr in an unusual layout")
