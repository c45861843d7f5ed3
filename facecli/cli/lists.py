"""Lists of names in a file or on stdin."""

from __future__ import annotations

import contextlib
import sys
from typing import BinaryIO

from facecli.errors import UsageError, check_name


def read_names(source: str, *, nul: bool) -> list[str]:
    """The names in a list, one per line or, with `nul`, NUL-terminated; `source` is a file, or - for stdin.

    Raises UsageError if the list cannot be read, or if a name is empty.
    """
    from facecli.photos.scan import names_in  # noqa: PLC0415 (not for --help)

    try:
        with _open(source) as stream:
            names = names_in(stream, nul=nul)
    except OSError as error:
        raise UsageError(f"the list cannot be read ({error.strerror})", source) from error
    return [check_name(name, f"entry {place} of the list {source}") for place, name in enumerate(names, 1)]


def _open(source: str) -> contextlib.AbstractContextManager[BinaryIO]:
    if source == "-":
        return contextlib.nullcontext(sys.stdin.buffer)
    return open(source, "rb")
