"""The layout of the flattened picture of a Photoshop document, which is stored in planes like some TIFF files."""

from __future__ import annotations

import struct

from facecli.photos.refusal import unreadable, unsupported
from facecli.photos.tiff.directory import truncated_tiff
from facecli.photos.tiff.layout import Colours, Packing, SampleLayout

_HEADER = struct.Struct(">HIIHH")
_MODES = {
    0: Colours.WHITE_IS_ZERO,
    1: Colours.BLACK_IS_ZERO,
    2: Colours.PALETTE,
    3: Colours.RGB,
    4: Colours.CMYK,
    8: Colours.BLACK_IS_ZERO,
}
"""The ones of a bitmap are black; a duotone is stored as a gray picture."""
_UNREAD_MODES = {7: "several channels without colours", 9: "CIELab colours"}
_UNREAD_PACKINGS = {2: "ZIP", 3: "ZIP"}
_CHANNELS = {Colours.RGB: 3, Colours.CMYK: 4}


def psd_layout(data: bytes) -> SampleLayout:
    """The layout of the flattened picture; raises Refusal if it is broken or not supported.

    Further channels are masks, and transparency is already composed on white.
    """
    if len(data) < 26:
        raise truncated_tiff("PSD")
    stored, height, width, bits, mode = _HEADER.unpack_from(data, 12)
    if mode not in _MODES:
        raise unsupported(f"PSD of {_UNREAD_MODES.get(mode, 'an unknown kind of colours')}")
    if bits not in (1, 8, 16):
        raise unsupported(f"PSD of {bits} bits a channel")
    colours = _MODES[mode]
    channels = _CHANNELS.get(colours, 1)
    if stored < channels or not width or not height:
        raise unreadable("a PSD file with a broken header")
    palette, at = _section(data, 26)
    for _ in range(2):  # skip the resources and the layers
        _, at = _section(data, at)
    (packing,) = _numbers(data, ">H", at)
    sizes = _sizes(data, at + 2, (stored, height, -(-width * bits // 8)), packing)
    start = at + 2 + (2 * stored * height if packing else 0)
    return SampleLayout(
        kind="PSD",
        width=width,
        height=height,
        colours=colours,
        packing=Packing.PACK_BITS if packing else Packing.NONE,
        bits=bits,
        samples=channels,
        separate=True,
        chunk_width=width,
        chunk_height=height,
        places=tuple(start + sum(sizes[:i]) for i in range(channels)),
        sizes=sizes,
        palette=tuple(palette) if colours is Colours.PALETTE else (),
        inverted=colours is Colours.CMYK,
    )


def _sizes(data: bytes, at: int, shape: tuple[int, int, int], packing: int) -> tuple[int, ...]:
    """The number of bytes of each channel; `shape` is channels, rows and bytes per row."""
    channels, rows, row = shape
    if packing == 0:
        return (rows * row,) * channels
    if packing != 1:
        raise unsupported(f"PSD compressed by {_UNREAD_PACKINGS.get(packing, 'an unknown method')}")
    lengths = _numbers(data, f">{channels * rows}H", at)
    return tuple(sum(lengths[i * rows : (i + 1) * rows]) for i in range(channels))


def _section(data: bytes, at: int) -> tuple[bytes, int]:
    (size,) = _numbers(data, ">I", at)
    return data[at + 4 : at + 4 + min(size, 768)], at + 4 + size


def _numbers(data: bytes, codes: str, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(codes, data, at)
    except (struct.error, OverflowError) as error:
        raise truncated_tiff("PSD") from error
