"""Output names that are not regular files: a pipe, a device, this process's own stdout or stderr."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import IO, TYPE_CHECKING

from facecli.cli.streams import results
from facecli.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STDOUT, STDERR = 1, 2
DASH = "-"


def takes_stream(file: str) -> bool:
    """Whether a name is a stream: it can be written, but not read back or replaced."""
    kind = _kind_of(file)
    return stat.S_ISFIFO(kind) or stat.S_ISCHR(kind) or _own_stream(file) is not None


def is_stdout(file: str) -> bool:
    """Whether a name is this process's stdout."""
    return _own_stream(file) == STDOUT


def write_into(file: str, pieces: Iterable[bytes]) -> None:
    """Write to a stream (see `takes_stream`); raises OutputError on failure, except if the reader has closed it."""
    own = _own_stream(file)
    if own == STDOUT:
        with results(lasting=True) as out:
            for piece in pieces:
                out.draw(piece)
        return
    with opened_stream(file) as stream:
        stream.writelines(pieces)


@contextlib.contextmanager
def opened_stream(file: str) -> Iterator[IO[bytes]]:
    """Open a stream that is not stdout; a reader that closes it ends the writing silently.

    Raises OutputError if it cannot be written.
    """
    own = _own_stream(file)
    try:
        with open(file if own is None else own, "wb", closefd=own is None) as stream:
            yield stream
    except BrokenPipeError:
        return
    except OSError as error:
        raise OutputError(f"cannot be written ({error.strerror})", file) from error


def _kind_of(file: str) -> int:
    """The mode of a file by `stat`, without opening it; 0 if there is none."""
    try:
        return os.stat(file).st_mode
    except (OSError, ValueError):
        return 0


def _own_stream(file: str) -> int | None:
    """The descriptor number if a name is this process's own stdout, also called -, or stderr; None otherwise."""
    if file == DASH:
        return STDOUT
    for number in (STDOUT, STDERR):
        try:
            own = os.fstat(number)
            # A device such as /dev/null has no position that other writers share.
            if os.path.samestat(os.stat(file), own) and (os.isatty(number) or not stat.S_ISCHR(own.st_mode)):
                return number
        except (OSError, ValueError):
            continue
    return None
