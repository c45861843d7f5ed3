"""Faces drawn on a terminal, decoded again from the output."""

from __future__ import annotations

import base64
import re

import numpy as np
import pytest

from facecli.output.drawing import KITTY_CHUNK, Protocol, draw_faces, half_blocks, iterm2, kitty, protocol_of, sixel
from facecli.output.terminal import columns_of
from facecli.types import ByteArray


def picture(height: int = 12, width: int = 10) -> ByteArray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_half_blocks_carry_two_pixels_a_cell() -> None:
    pixels = picture()
    lines = list(half_blocks(pixels))
    assert len(lines) == 6
    for number, line in enumerate(lines):
        cells = re.findall(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", line)
        seen = np.array(cells, np.uint8)
        assert (seen[:, :3] == pixels[2 * number]).all()
        assert (seen[:, 3:] == pixels[2 * number + 1]).all()


@pytest.mark.parametrize("size", [10, KITTY_CHUNK, 20_000])
def test_kitty_gets_the_whole_file_in_chunks(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    chunks = re.findall(r"\x1b_G([^;]*);([^\x1b]*)\x1b\\", kitty(data, 20))
    assert base64.b64decode("".join(chunk for _, chunk in chunks)) == data
    assert all(len(chunk) <= KITTY_CHUNK for _, chunk in chunks)
    assert [control[-3:] for control, _ in chunks] == ["m=1"] * (len(chunks) - 1) + ["m=0"]
    assert chunks[0][0].startswith("a=T,f=100,")


def test_iterm2_gets_the_whole_file() -> None:
    found = re.fullmatch(
        r"\x1b\]1337;File=inline=1;size=5;width=42;height=10;preserveAspectRatio=0:(.+)\x07", iterm2(b"12345", 42)
    )
    assert found is not None
    assert base64.b64decode(found[1]) == b"12345"


def read_sixel(text: str) -> ByteArray:
    """The pixels of a sixel picture."""
    width, height = map(int, re.match(r'\x1bPq"1;1;(\d+);(\d+)', text).groups())  # type: ignore[union-attr]
    palette = {int(c): (int(r), int(g), int(b)) for c, r, g, b in re.findall(r"#(\d+);2;(\d+);(\d+);(\d+)", text)}
    pixels = np.zeros((height, width, 3), np.float64)
    bands = re.sub(r"#\d+;2;\d+;\d+;\d+", "", text.split(f";{height}", 1)[1]).removesuffix("\x1b\\").split("-")[:-1]
    for band, lines in enumerate(bands):
        for line in lines.split("$"):
            colour, runs = re.match(r"#(\d+)(.*)", line).groups()  # type: ignore[union-attr]
            column = 0
            for count, character in re.findall(r"(?:!(\d+))?([?-~])", runs):
                for _ in range(int(count or 1)):
                    for bit in range(6):
                        if (ord(character) - 63) >> bit & 1:
                            pixels[band * 6 + bit, column] = palette[int(colour)]
                    column += 1
            assert column == width
    return (pixels * 2.55).round().astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(12, 10), (7, 3), (200, 40)])
def test_sixel_shows_each_pixel_in_the_nearest_of_its_colours(height: int, width: int) -> None:
    pixels = picture(height, width)
    shown = read_sixel(sixel(pixels))
    assert np.abs(shown.astype(int) - pixels.astype(int)).max() <= 26


def test_faces_stand_side_by_side_as_far_as_they_fit() -> None:
    faces = [(f"{n}  0.5000", picture(30 + n, 50)) for n in range(5)]
    lines = list(draw_faces(faces, 66, Protocol.BLOCKS, bytes))
    assert lines[0] == "0  0.5000             1  0.5000             2  0.5000"
    assert lines[11] == "3  0.5000             4  0.5000"
    assert len(lines) == 22
    assert max(columns_of(re.sub(r"\x1b\[[\d;]*m", "", line)) for line in lines) == 64


def test_a_flat_face_stays_flat_whatever_its_size() -> None:
    for height, width in ((160, 160), (3, 5), (41, 19)):
        (_, first, *_rest) = draw_faces([("", np.full((height, width, 3), 77, np.uint8))], 80, Protocol.BLOCKS, bytes)
        assert set(re.findall(r"38;2;(\d+;\d+;\d+)", first)) == {"77;77;77"}


@pytest.mark.parametrize(
    ("environment", "protocol"),
    [
        ({"TERM": "xterm-256color"}, Protocol.BLOCKS),
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, Protocol.BLOCKS),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM2),
        ({"TERM": "foot"}, Protocol.SIXEL),
        ({"TERM": "foot", "FACECLI_GRAPHICS": "blocks"}, Protocol.BLOCKS),
        ({"TERM": "foot", "FACECLI_GRAPHICS": "nonsense"}, Protocol.SIXEL),
    ],
)
def test_the_protocol_is_what_the_terminal_says(environment: dict[str, str], protocol: Protocol) -> None:
    assert protocol_of(environment) is protocol


def test_each_protocol_draws(recwarn: pytest.WarningsRecorder) -> None:
    for protocol in Protocol:
        lines = list(draw_faces([("query", picture(20, 20))], 80, protocol, lambda pixels: pixels.tobytes()))
        assert lines[0] == "query"
        assert len(lines) == (11 if protocol is Protocol.BLOCKS else 2)
    assert not recwarn
