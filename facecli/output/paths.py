"""Paths, and text that contains paths, for output: relative paths, bytes, JSON, and escaping for a terminal."""

from __future__ import annotations

import base64
import os
import sys

from facecli.wording import is_shown


def shown_path(path: str, *, absolute: bool, working_directory: str) -> str:
    """Make a path relative to the working directory if it is below it; other paths are returned as they are."""
    base = working_directory if working_directory.endswith("/") else working_directory + "/"
    if absolute or not path.startswith(base) or len(path) == len(base):
        return path
    return path[len(base) :]


def path_record(path: str, name: str = "path") -> dict[str, str]:
    """Convert a path for JSON: under `name`, and if it is not valid UTF-8 also unchanged under `name_base64`.

    The value of `name` has replacement characters for invalid bytes.
    """
    raw = os.fsencode(path)
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {name: raw.decode(errors="replace"), f"{name}_base64": base64.b64encode(raw).decode("ascii")}


def tsv_path(path: str) -> bytes:
    r"""Encode a path with backslash, tab and newline written as \\, \t and \n."""
    return encoded(path).replace(b"\\", rb"\\").replace(b"\t", rb"\t").replace(b"\n", rb"\n")


def encoded(text: str) -> bytes:
    """Encode text that contains paths: paths as the bytes of their names, characters outside of the locale escaped."""
    encoding = sys.getfilesystemencoding()
    try:
        return text.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return b"".join(_encoded(c, encoding) for c in text)


def _encoded(character: str, encoding: str) -> bytes:
    try:
        return character.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return character.encode("ascii", "backslashreplace")


def printable(text: str, *, layout: str = "") -> str:
    """Escape characters that a terminal would obey or not show, except those in `layout`.

    These are control characters (C0 and C1), characters that change the writing direction, and bytes that are not text.
    """
    if is_shown(text):
        return text
    return "".join(c if c.isprintable() or c in layout else _escaped(c) for c in text)


def printable_path(path: str) -> str:
    """Convert a path to text for a table or a page: unprintable characters are escaped, invalid bytes replaced."""
    return printable(encoded(path).decode(errors="replace"))


def _escaped(character: str) -> str:
    """Escape a character as Python does; a surrogate as the byte that it stands for."""
    return f"\\x{ord(character) - 0xDC00:02x}" if "\udc80" <= character <= "\udcff" else repr(character)[1:-1]
