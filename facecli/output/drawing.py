"""Images on a terminal: the graphics protocols of kitty, iTerm2 and sixel, or half blocks in true colour.

No dependency writes these, and no library does it as well: textual-image knows no iTerm2, term-image no sixel and no
Pillow from 11 on. chafa.py knows all four, but brings a library of 2 MB that takes 95 ms to load, and for four faces
writes 226 kB of sixel and 866 kB for kitty; here it is 85 kB and 349 kB.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import assert_never

import cv2
import numpy as np

from facecli.output.terminal import pad, shorten
from facecli.types import ByteArray

TILE_COLUMNS = 20
"""Width of a face in columns; its height is half as many lines, since a cell is about twice as high as wide."""
TILE_LINES = TILE_COLUMNS // 2
GAP = 2
CELL = (10, 20)
"""Width and height of a cell in pixels; sixel sizes images in pixels."""
KITTY_CHUNK = 4096
SIXEL_LEVELS = 6
"""Levels per colour channel: 216 colours, of the 256 that sixel terminals support."""


class Protocol(StrEnum):
    """Graphics protocols of terminals."""

    KITTY = "kitty"
    ITERM2 = "iterm2"
    SIXEL = "sixel"
    BLOCKS = "blocks"


def protocol_of(environment: Mapping[str, str]) -> Protocol:
    """Detect the protocol from the environment variables that terminals set; FACECLI_GRAPHICS overrides it."""
    named = environment.get("FACECLI_GRAPHICS")
    if named in set(Protocol):
        return Protocol(named)
    term, program = environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")
    if environment.get("TMUX") or term.startswith("screen"):
        return Protocol.BLOCKS
    if environment.get("KITTY_WINDOW_ID") or term in ("xterm-kitty", "xterm-ghostty"):
        return Protocol.KITTY
    if program in ("iTerm.app", "WezTerm"):
        return Protocol.ITERM2
    return Protocol.SIXEL if term.startswith(("foot", "mlterm", "contour")) or "sixel" in term else Protocol.BLOCKS


def draw_faces(
    faces: Sequence[tuple[str, ByteArray]], width: int, protocol: Protocol, encode_png: Callable[[ByteArray], bytes]
) -> Iterator[str]:
    """Yield lines with faces side by side, as many as fit into `width` columns, each below its label.

    `faces` holds labels and pixels, uint8 (h, w, 3), RGB. `encode_png` encodes such pixels as PNG.
    """
    across = max(1, (width + GAP) // (TILE_COLUMNS + GAP))
    for start in range(0, len(faces), across):
        row = faces[start : start + across]
        labels = (shorten(label, TILE_COLUMNS) for label, _ in row)
        yield (" " * GAP).join(pad(label, TILE_COLUMNS) for label in labels).rstrip()
        strip = _strip([pixels for _, pixels in row], *_tile_size(protocol))
        columns = len(row) * (TILE_COLUMNS + GAP) - GAP
        yield from _draw(strip, columns, protocol, encode_png)


def _draw(
    strip: ByteArray, columns: int, protocol: Protocol, encode_png: Callable[[ByteArray], bytes]
) -> Iterator[str]:
    match protocol:
        case Protocol.BLOCKS:
            yield from half_blocks(strip)
        case Protocol.KITTY:
            yield kitty(encode_png(strip), columns)
        case Protocol.ITERM2:
            yield iterm2(encode_png(strip), columns)
        case Protocol.SIXEL:
            yield sixel(strip)
        case _:
            assert_never(protocol)


def _tile_size(protocol: Protocol) -> tuple[int, int]:
    """The side of a tile and the gap between tiles, in pixels."""
    scale = 1 if protocol is Protocol.BLOCKS else CELL[0]
    return TILE_COLUMNS * scale, GAP * scale


def _strip(faces: Sequence[ByteArray], side: int, gap: int) -> ByteArray:
    """Put faces side by side on black, each scaled to a square of `side` pixels by area averaging.

    `faces` are uint8 (h, w, 3), RGB; the result is uint8 (side, width, 3), RGB.
    """
    strip = np.zeros((side, len(faces) * (side + gap) - gap, 3), np.uint8)
    for number, pixels in enumerate(faces):
        left = number * (side + gap)
        strip[:, left : left + side] = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA)
    return strip


def half_blocks(pixels: ByteArray) -> Iterator[str]:
    """Yield lines of upper half blocks; each shows two pixels, one above the other.

    `pixels` is uint8 (h, w, 3), RGB, with an even h.
    """
    for top, bottom in zip(pixels[::2].tolist(), pixels[1::2].tolist(), strict=True):
        cells = ("\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm▀" % (*a, *b) for a, b in zip(top, bottom, strict=True))  # noqa: UP031 (a tuple of six)
        yield "".join(cells) + "\x1b[0m"


def kitty(png: bytes, columns: int) -> str:
    """Encode a PNG in kitty's graphics protocol, in chunks of KITTY_CHUNK, `columns` wide and TILE_LINES high."""
    data = base64.b64encode(png).decode("ascii")
    chunks = [data[start : start + KITTY_CHUNK] for start in range(0, len(data), KITTY_CHUNK)]
    parts = []
    for number, chunk in enumerate(chunks):
        control = f"a=T,f=100,q=2,c={columns},r={TILE_LINES}," if number == 0 else ""
        parts.append(f"\x1b_G{control}m={int(number < len(chunks) - 1)};{chunk}\x1b\\")
    return "".join(parts)


def iterm2(png: bytes, columns: int) -> str:
    """Encode a PNG in iTerm2's inline image protocol, `columns` wide and TILE_LINES high."""
    data = base64.b64encode(png).decode("ascii")
    return (
        f"\x1b]1337;File=inline=1;size={len(png)};width={columns};height={TILE_LINES};preserveAspectRatio=0:{data}\x07"
    )


def sixel(pixels: ByteArray) -> str:
    """Encode pixels, uint8 (h, w, 3), RGB, as sixel in 216 colours.

    The image is split into bands of six lines; each band holds one run-length encoded line per colour.
    """
    levels = (pixels.astype(np.uint16) * (SIXEL_LEVELS - 1) + 127) // 255
    colours = (levels * np.array([SIXEL_LEVELS**2, SIXEL_LEVELS, 1], np.uint16)).sum(axis=2)
    height, width = colours.shape
    parts = [f'\x1bPq"1;1;{width};{height}']
    for colour in np.unique(colours).tolist():
        shares = (colour // SIXEL_LEVELS**2, colour // SIXEL_LEVELS % SIXEL_LEVELS, colour % SIXEL_LEVELS)
        parts.append("#%d;2;%d;%d;%d" % (colour, *(100 * share // (SIXEL_LEVELS - 1) for share in shares)))  # noqa: UP031 (a tuple of four)
    for top in range(0, height, 6):
        band = colours[top : top + 6]
        bits = (1 << np.arange(len(band)))[:, None]
        lines = [f"#{colour}{_runs(((band == colour) * bits).sum(axis=0) + 63)}" for colour in np.unique(band).tolist()]
        parts.append("$".join(lines) + "-")
    return "".join(parts) + "\x1b\\"


def _runs(codes: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> str:
    """Run-length encode characters as sixel does: !12? is twelve times "?". `codes` is int (w,), character codes."""
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    lengths = np.diff(starts, append=len(codes))
    return "".join(
        f"!{length}{chr(code)}" if length > 3 else chr(code) * length
        for code, length in zip(codes[starts].tolist(), lengths.tolist(), strict=True)
    )
