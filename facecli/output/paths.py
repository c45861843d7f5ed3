"""How a path is shown: as the user would type it, as the file name's very bytes, and in JSON."""

from __future__ import annotations

import base64
import os


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
    return os.fsencode(path).replace(b"\\", rb"\\").replace(b"\t", rb"\t").replace(b"\n", rb"\n")


def printable_path(path: str) -> str:
    """A path for messages on a terminal: what cannot be printed is escaped."""
    text = os.fsencode(path).decode(errors="replace")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
