"""How paths and texts with paths in them are shown: as the user would type them, as a file name's very bytes, in JSON, on a terminal."""

from __future__ import annotations

import base64
import os
import sys


def shown_path(path: str, *, absolute: bool, working_directory: str) -> str:
    """An absolute path relative to the working directory where it lies below it, else as it is."""
    base = working_directory if working_directory.endswith("/") else working_directory + "/"
    if absolute or not path.startswith(base) or len(path) == len(base):
        return path
    return path[len(base) :]


def path_record(path: str, name: str = "path") -> dict[str, str]:
    """A path for JSON: under `name` with replacement characters, and whole in `name_base64` where it is not valid UTF-8."""
    raw = os.fsencode(path)
    try:
        return {name: raw.decode()}
    except UnicodeDecodeError:
        return {name: raw.decode(errors="replace"), f"{name}_base64": base64.b64encode(raw).decode("ascii")}


def tsv_path(path: str) -> bytes:
    r"""The bytes of a path with backslash, tab and newline as \\, \t and \n."""
    return encoded(path).replace(b"\\", rb"\\").replace(b"\t", rb"\t").replace(b"\n", rb"\n")


def encoded(text: str) -> bytes:
    """A text with paths in it as bytes: paths as the very bytes of their names, and what the locale has no letter for escaped."""
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
    """A text for a terminal: what steers one or hides from the eye is escaped, but for the characters of `layout`.

    That is control characters, those of C1 among them, what turns the direction of writing, and bytes that are no text.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in layout else _escaped(c) for c in text)


def printable_path(path: str) -> str:
    """A path as characters, for a table or a page: what cannot be printed is escaped, bytes that are no text are replaced."""
    return printable(encoded(path).decode(errors="replace"))


def _escaped(character: str) -> str:
    """A character as Python writes it, a byte that is no text as that byte."""
    return f"\\x{ord(character) - 0xDC00:02x}" if "\udc80" <= character <= "\udcff" else repr(character)[1:-1]
