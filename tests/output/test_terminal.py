"""Columns, shortening, links."""

from __future__ import annotations

import os

import pytest

from facecli.output.terminal import columns_of, file_url, links_work, pad, shorten


@pytest.mark.parametrize(
    ("text", "columns"), [("abc", 3), ("姚明", 4), ("Zoë", 3), ("Zoe\u0308", 3), ("🙂", 2), ("", 0)]
)
def test_columns(text: str, columns: int) -> None:
    assert columns_of(text) == columns


@pytest.mark.parametrize("text", ["a/long/path/to/some/photo.jpg", "姚明/姚明/姚明/姚明/姚明.jpg", "x" * 99, "ä" * 50])
@pytest.mark.parametrize("width", range(14))
def test_shortened_text_fits_and_keeps_both_ends(text: str, width: int) -> None:
    short = shorten(text, width)
    assert columns_of(short) <= width
    if width >= 8:
        assert short[0] == text[0]
        assert short[-1] == text[-1]
        assert "…" in short
        assert columns_of(short) >= width - 1


def test_what_fits_stays() -> None:
    assert shorten("photo.jpg", 9) == "photo.jpg"
    assert pad("姚明", 6) == "姚明  "


def test_a_url_holds_the_very_bytes() -> None:
    assert file_url(os.fsdecode(b"/a b/\xe9%?#.jpg")) == "file:///a%20b/%E9%25%3F%23.jpg"


@pytest.mark.parametrize(
    ("environment", "works"),
    [
        ({"TERM": "xterm"}, False),
        ({"TERM": "xterm-256color", "VTE_VERSION": "7600"}, True),
        ({"TERM": "xterm-256color", "VTE_VERSION": "4602"}, False),
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM_PROGRAM": "WezTerm"}, True),
        ({"TERM_PROGRAM": "WezTerm", "FORCE_HYPERLINK": "0"}, False),
        ({"TERM": "dumb", "FORCE_HYPERLINK": "1"}, True),
        ({"WT_SESSION": "x"}, True),
    ],
)
def test_links_are_written_where_they_work(environment: dict[str, str], *, works: bool) -> None:
    assert links_work(environment) is works
