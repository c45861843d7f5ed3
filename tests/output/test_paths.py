"""Encoding of text with paths, in any locale and on any terminal."""

from __future__ import annotations

import json
import os
import sys

import pytest

from facecli.output.paths import encoded, printable, printable_path, tsv_path
from facecli.output.records import json_bytes, json_line


@pytest.mark.parametrize(
    "character",
    ["\x00", "\x07", "\x1b", "\x7f", "\x80", "\x9b", "\u202e", "\u2066", "\u2028", "\ufeff", "\U000e0041", "\udc9b"],
)
def test_what_steers_or_hides_is_escaped_for_a_terminal(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert shown != f"a{character}b"
    assert json.loads(json_bytes(f"a{character}b")) == f"a{character}b".replace("\udc9b", "\ufffd")
    assert json_bytes(f"a{character}b").decode().isprintable()


def test_what_can_be_shown_stays() -> None:
    assert printable("نیک\u200cنوش") == "نیک\u200cنوش"
    assert printable("an\u200cna") == r"an\u200cna"
    text = "Zoë 姚明 · é/…/🙂.jpg"
    assert printable(text) == printable_path(text) == text
    assert json_line({"path": text}).decode() == f'{{"path": "{text}"}}\n'
    assert printable("a\tb\n", layout="\t\n") == "a\tb\n"
    assert printable("raw \udc9b", layout="\n") == "raw \\x9b"


@pytest.mark.parametrize("encoding", ["utf-8", "iso8859-1", "ascii", "cp1251"])
def test_names_keep_their_bytes_in_every_locale(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    """Bytes decoded by `os.fsdecode` are encoded unchanged, even next to text that the locale cannot encode."""
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: encoding)
    raw = bytes(range(1, 256))
    name = raw.decode(encoding, "surrogateescape")
    assert encoded(name) == raw
    assert encoded(f"姚{name}").endswith(raw)
    assert tsv_path("a\\b\tc\nd") == rb"a\\b\tc\nd"


def test_a_letter_that_the_locale_lacks_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "iso8859-1")
    assert encoded("Zoë … 姚 🙂") == b"Zo\xeb \\u2026 \\u59da \\U0001f642"


def test_json_puts_bytes_of_names_together_again() -> None:
    as_in_ascii = "äöü".encode().decode("ascii", "surrogateescape")
    assert json_line({"model": as_in_ascii}) == '{"model": "äöü"}\n'.encode()
    assert json_line({"model": os.fsdecode(b"\xff")}) == '{"model": "\ufffd"}\n'.encode()
    assert json.loads(json_line({"model": "\ud800"})) == {"model": "?"}
