"""The two ways out: results go to stdout, all else to stderr, and nothing reaches either but through here.

What goes wrong with stdout is an error that a command hears of; what goes wrong with stderr is nobody's error. A
terminal gets names with what steers it escaped, a pipe gets them as they are.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

from facecli.errors import OutputError
from facecli.output.paths import encoded, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

PATIENCE = 10.0
"""Seconds that a notice waits for a stderr that takes nothing at the moment."""
ROWS = "\n\t"
"""What rows are laid out with."""


class ReaderGone(OutputError):
    """Whoever read stdout has closed it, which ends a command silently."""

    exit_code = 0


class Descriptor(io.RawIOBase):
    """A file descriptor that takes what it is given whole, also where the other side is slow and the descriptor does not block."""

    patience: float | None = None

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._number, rest) :]
            except BlockingIOError:
                self._wait()
        return size

    def _wait(self) -> None:
        """Wait until something can be written; raises BlockingIOError where that takes longer than `patience`."""
        import select  # noqa: PLC0415 (rare)

        if not select.select([], [self._number], [], self.patience)[1]:
            raise BlockingIOError


class Stdout(Descriptor):
    """Stdout, which takes nothing more after its first trouble and remembers it."""

    trouble: OutputError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        if self.trouble is None:
            try:
                return super().write(data)
            except BrokenPipeError:
                self.trouble = ReaderGone("whoever read it has closed it", "stdout")
            except OSError as error:
                why = "it is closed" if error.errno == errno.EBADF else error.strerror
                self.trouble = OutputError(f"cannot be written ({why})", "stdout")
        raise self.trouble


class Stderr(Descriptor):
    """Stderr, whose trouble is dropped: a notice never decides what comes of a command."""

    patience = PATIENCE

    def write(self, data: ReadableBuffer, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


class Text(io.TextIOBase):
    """Text that others write (click's help and prompts, tqdm's bars, Python's warnings), made bytes in any locale."""

    encoding: str = "utf-8" if sys.getfilesystemencoding() == "utf-8" else "iso8859-1"
    """What others go by. Click would write UTF-8 itself where it is told of ASCII."""

    def __init__(self, buffer: io.BufferedWriter | Descriptor) -> None:
        self.buffer = buffer

    def write(self, text: str, /) -> int:
        self.buffer.write(encoded(text))
        return len(text)

    def flush(self) -> None:
        self.buffer.flush()

    def fileno(self) -> int:
        return self.buffer.fileno()

    def isatty(self) -> bool:
        return self.buffer.isatty()

    def writable(self) -> bool:
        return True


def open_streams() -> Stdout:
    """Take over stdout and stderr for the process; what stdout now is."""
    _fill_missing_streams()
    stdout = Stdout(1)
    sys.stdout = cast("TextIO", Text(io.BufferedWriter(stdout, 1 << 16)))
    sys.stderr = cast("TextIO", Text(Stderr(_second_stderr())))
    return stdout


def _second_stderr() -> int:
    """A descriptor of its own for notices, which are not to be lost while what libraries write to descriptor 2 is kept from the terminal."""
    try:
        return os.dup(2)
    except OSError:
        return 2


def _fill_missing_streams() -> None:
    """Put the null device where the process was started without stdin, stdout or stderr, lest a file of the index gets their number.

    What stands for stdout cannot be written, so that results for nobody are an error.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, flags), number)
            if number == 0:
                sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (open as long as the process runs)


class Results:
    """Stdout as a command writes to it."""

    def __init__(self, stream: BinaryIO, *, lasting: bool) -> None:
        self._stream, self._lasting = stream, lasting
        self.terminal = stream.isatty()

    def write(self, data: bytes, /) -> None:
        """Rows, JSON, paths: a pipe gets these very bytes, a terminal what can be shown of them."""
        self.draw(encoded(printable(os.fsdecode(data), layout=ROWS)) if self.terminal else data)

    def line(self, text: str) -> None:
        """A line for people."""
        self.write(encoded(text.replace("\n", "\\n")) + b"\n")

    def draw(self, data: bytes, /) -> None:
        """Bytes that may steer a terminal, since facecli made them: colours, links, pictures; names in them are escaped already."""
        try:
            self._stream.write(data)
        except OutputError:
            if not self._lasting:
                raise

    def flush(self) -> None:
        """See that everything is written."""
        try:
            self._stream.flush()
        except OutputError:
            if not self._lasting:
                raise

    @property
    def drawn(self) -> Drawn:
        """These results for a writer that draws."""
        return Drawn(self)


class Drawn:
    """Results whose bytes, in UTF-8, may steer a terminal."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def write(self, data: bytes, /) -> None:
        """Draw `data` with the letters that the locale has."""
        self._results.draw(encoded(data.decode()))


@contextlib.contextmanager
def results(*, lasting: bool = False) -> Iterator[Results]:
    """Stdout for a command, flushed at the end, so that what goes wrong there is known while the command runs.

    A command that makes more than rows is `lasting`: a stdout that takes nothing more ends the rows alone, and the exit
    tells of it.
    """
    out = Results(sys.stdout.buffer, lasting=lasting)
    yield out
    out.flush()


def tell(message: str) -> None:
    """Write one line to stderr, whatever becomes of it."""
    shown = printable(message) if sys.stderr.isatty() else message.replace("\n", "\\n").replace("\r", "\\r")
    with contextlib.suppress(OSError):
        sys.stderr.buffer.write(encoded(shown) + b"\n")
        sys.stderr.buffer.flush()


def say_error(message: str, hint: str) -> None:
    """The one or two lines of an error."""
    tell(f"facecli: error: {message}")
    if hint:
        tell(f"hint: {hint}")
