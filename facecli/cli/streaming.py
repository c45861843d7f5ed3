"""Outputs that a user names and that are no file of their own: a pipe, a device, this process's own stdout or stderr."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from facecli.cli.streams import results
from facecli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable

STDOUT, STDERR = 1, 2


def takes_stream(file: str) -> bool:
    """Whether bytes are written into what is there, which can neither be looked into nor replaced."""
    kind = _kind_of(file)
    return stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) or _own_stream(file) is not None


def is_stdout(file: str) -> bool:
    """Whether a name means the stream that results go to."""
    return _own_stream(file) == STDOUT


def write_into(file: str, pieces: Iterable[bytes]) -> None:
    """Write into what `takes_stream`; raises OutputError where that fails, but for a reader that has gone."""
    own = _own_stream(file)
    if own == STDOUT:
        with results(lasting=True) as out:
            for piece in pieces:
                out.draw(piece)
        return
    try:
        with open(file if own is None else own, "wb", closefd=own is None) as stream:
            stream.writelines(pieces)
    except BrokenPipeError:
        return
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", file) from error


def _kind_of(file: str) -> int:
    """What is there, 0 for nothing, without opening it."""
    try:
        return os.stat(file).st_mode
    except (OSError, ValueError):
        return 0


def _own_stream(file: str) -> int | None:
    """The number of the stream where the name leads to this process's own stdout or stderr, whose position others share."""
    for number in (STDOUT, STDERR):
        try:
            own = os.fstat(number)
            # A device such as /dev/null has neither position nor reader to be shared.
            if os.path.samestat(os.stat(file), own) and (os.isatty(number) or not stat.S_ISCHR(own.st_mode)):
                return number
        except (OSError, ValueError):
            continue
    return None
