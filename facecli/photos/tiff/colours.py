"""Convert samples of a TIFF file to RGB on white."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facecli.photos.tiff.chunks import Samples
from facecli.photos.tiff.layout import Colours, SampleLayout
from facecli.types import ByteArray

_LUMA = (0.299, 0.587, 0.114)
_FULL_RANGE = (0.0, 255.0, 128.0, 255.0, 128.0, 255.0)


def to_rgb(samples: Samples, layout: SampleLayout) -> ByteArray:
    """Convert samples, uint8 or uint16 (h, w, n), to uint8 (h, w, 3), RGB; transparency is composed on white."""
    rgb = _colours(samples, layout)
    if layout.alpha is None:
        return rgb
    alpha = _eight_bits(samples[:, :, layout.alpha, None], layout.bits).astype(np.uint16)
    if layout.associated:
        return np.asarray(np.minimum(rgb + (255 - alpha), 255), np.uint8)
    on_white = (rgb * alpha + 255 * (255 - alpha) + 127) // 255
    return np.asarray(on_white, np.uint8)


def spread_ycbcr(stored: bytes, shape: tuple[int, int], subsampling: tuple[int, int]) -> ByteArray:
    """Expand subsampled YCbCr to uint8 (h, w, 3).

    Each stored unit holds the luma of a block of pixels, then their shared Cb and Cr (TIFF 6.0, section 21).
    """
    (rows, width), (across, down) = shape, subsampling
    grid = -(-rows // down), -(-width // across)
    units = np.frombuffer(stored, np.uint8)[: grid[0] * grid[1] * (across * down + 2)].reshape(*grid, across * down + 2)
    luma = units[:, :, :-2].reshape(*grid, down, across).transpose(0, 2, 1, 3).reshape(grid[0] * down, grid[1] * across)
    colour = units[:, :, -2:].repeat(down, axis=0).repeat(across, axis=1)
    return np.dstack((luma, colour))[:rows, :width]


def _colours(samples: Samples, layout: SampleLayout) -> ByteArray:
    match layout.colours:
        case Colours.WHITE_IS_ZERO | Colours.BLACK_IS_ZERO:
            gray = _eight_bits(samples[:, :, :1], layout.bits)
            return np.repeat(255 - gray if layout.colours is Colours.WHITE_IS_ZERO else gray, 3, axis=2)
        case Colours.PALETTE:
            return _palette(layout)[samples[:, :, 0]]
        case Colours.CMYK:
            inks = np.ascontiguousarray(_eight_bits(samples[:, :, :4], layout.bits))
            inks = 255 - inks if layout.inverted else inks
            return np.asarray(
                Image.frombuffer("CMYK", (inks.shape[1], inks.shape[0]), inks, "raw", "CMYK", 0, 1).convert("RGB")
            )
        case Colours.YCBCR:
            return _from_ycbcr(samples[:, :, :3].astype(np.float32), layout)
        case _:
            return _eight_bits(samples[:, :, :3], layout.bits)


def _eight_bits(samples: Samples, bits: int) -> ByteArray:
    """Convert samples to 8 bits: drop the lower bits of larger ones, spread the range of smaller ones over 0 to 255."""
    if bits >= 8:
        return (samples >> (bits - 8)).astype(np.uint8, copy=False)
    return (samples.astype(np.uint16) * 255 // ((1 << bits) - 1)).astype(np.uint8)


def _palette(layout: SampleLayout) -> ByteArray:
    """The palette, uint8 (entries, 3), RGB; some programs write 8 bits where the format has 16."""
    entries = np.array(layout.palette[: 3 << layout.bits]).reshape(3, -1).T
    return (entries >> 8 if entries.max(initial=0) > 255 else entries).astype(np.uint8)


def _from_ycbcr(values: NDArray[np.float32], layout: SampleLayout) -> ByteArray:
    """Convert YCbCr to RGB by the formulas of TIFF 6.0, section 21."""
    red, green, blue = layout.coefficients or _LUMA
    black_y, white_y, black_b, white_b, black_r, white_r = layout.references or _FULL_RANGE
    y = _scaled(values[:, :, 0], black_y, white_y, 255.0)
    cb, cr = _scaled(values[:, :, 1], black_b, white_b, 127.0), _scaled(values[:, :, 2], black_r, white_r, 127.0)
    r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
    g = (y - red * r - blue * b) / (green or 1.0)
    return np.asarray(np.clip(np.rint(np.dstack((r, g, b))), 0, 255), np.uint8)


def _scaled(values: Any, black: float, white: float, most: float) -> Any:
    return (values - black) * (most / ((white - black) or 1.0))
