"""Capabilities of a terminal (width, colours, links), and the width of text in columns."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping
from urllib.parse import quote

from msgspec import Struct

from facecli.config import whole_number

LINKING_PROGRAMS = {"iTerm.app", "WezTerm", "vscode", "ghostty", "Hyper", "Tabby", "rio", "WarpTerminal"}
LINKING_TERMS = {"xterm-kitty", "xterm-ghostty", "foot", "foot-extra", "alacritty", "contour", "wezterm"}
LINKING_VARIABLES = ("KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "DOMTERM")
FIRST_LINKING_VTE = 5000
ELLIPSIS = "…"


class Terminal(Struct, frozen=True):
    """The capabilities of stdout."""

    width: int = 80
    colour: bool = False
    links: bool = False


def links_work(environment: Mapping[str, str]) -> bool:
    """Whether the terminal supports OSC 8 hyperlinks, by the environment variables that terminals set."""
    forced = environment.get("FORCE_HYPERLINK")
    if forced is not None:
        return forced != "0"
    vte = environment.get("VTE_VERSION", "")
    return (
        environment.get("TERM_PROGRAM") in LINKING_PROGRAMS
        or environment.get("TERM") in LINKING_TERMS
        or any(environment.get(name) for name in LINKING_VARIABLES)
        or (whole_number(vte, 10**9) or 0) >= FIRST_LINKING_VTE
    )


def columns_of(text: str) -> int:
    """Width of printable text in columns: two for wide and full-width characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_columns_of(c) for c in text)


def _columns_of(character: str) -> int:
    if unicodedata.combining(character) or character in "\u200b\u200c\u200d\ufe0e\ufe0f":
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def shorten(text: str, width: int) -> str:
    """Shorten text to `width` columns by cutting the middle; two thirds are left for the end, where file names are."""
    if columns_of(text) <= width:
        return text
    if width <= 1:
        return ELLIPSIS[:width]
    head = _take(text, (width - 1) // 3)
    tail = _take(text[::-1], width - 1 - columns_of(head))[::-1]
    return head + ELLIPSIS + tail


def _take(text: str, width: int) -> str:
    used = 0
    for position, character in enumerate(text):
        used += _columns_of(character)
        if used > width:
            return text[:position]
    return text


def pad(text: str, width: int) -> str:
    """Pad text with blanks to `width` columns."""
    return text + " " * (width - columns_of(text))


def file_url(path: str) -> str:
    """The URL of an absolute path; the bytes of the path are percent-encoded."""
    return "file://" + quote(os.fsencode(path))


def link(text: str, path: str) -> str:
    """Format text as an OSC 8 hyperlink to a file."""
    return f"\x1b]8;;{file_url(path)}\x1b\\{text}\x1b]8;;\x1b\\"


def paint(text: str, code: str) -> str:
    """Format text with an SGR code, such as a colour."""
    return f"\x1b[{code}m{text}\x1b[0m"
