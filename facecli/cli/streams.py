"""Stdout for results and stderr for everything else; all output goes through this module.

A failed write to stdout is an error of the command; a failed write to stderr is ignored. Control characters in names
are escaped on a terminal; a pipe gets names as they are.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

from msgspec import Struct

from facecli.errors import OutputError
from facecli.output.paths import encoded, printable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from _typeshed import ReadableBuffer

PATIENCE = 10.0
"""Seconds that a message waits for a stderr that is not writable."""
BUFFER = 1 << 16
"""Bytes of results that are written at once."""
CLEAR = b"\r\x1b[K"
"""Clears the line of a terminal."""
ROWS = "\n\t"
"""The control characters of rows, which are not escaped."""


class ReaderGone(OutputError):
    """The reader has closed stdout; the command ends silently."""

    exit_code = 0


class Descriptor(io.RawIOBase):
    """A file descriptor whose `write` writes everything, even if the descriptor is non-blocking and the reader slow."""

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
        """Wait until the descriptor is writable; raises BlockingIOError after `patience` seconds."""
        import select  # noqa: PLC0415 (rare)

        if not select.select([], [self._number], [], self.patience)[1]:
            raise BlockingIOError


class Unwritten(Struct, frozen=True):
    """Output that may not have been written yet."""

    data: bytearray
    written: list[int]
    """How many bytes of `data` each call has written."""


class Stdout(Descriptor):
    """Stdout with a buffer; it remembers its first error and raises it at every later write.

    io.BufferedWriter would write bytes again if Ctrl-C comes just after they were written.
    """

    trouble: OutputError | None = None

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self._unwritten = Unwritten(bytearray(), [])

    def write(self, data: ReadableBuffer, /) -> int:
        """Keep `data` for the next flush; the buffer is flushed when it is full."""
        if self.trouble is not None:
            raise self.trouble
        size = memoryview(data).nbytes
        self._unwritten.data.extend(memoryview(data).cast("B"))
        if len(self._unwritten.data) >= BUFFER:
            self.flush()
        return size

    def flush(self) -> None:
        """Write out the buffer; a flush that Ctrl-C has interrupted can be repeated."""
        if self.trouble is None:
            try:
                self._write_out()
            except BrokenPipeError:
                self.trouble = ReaderGone("closed by its reader", "stdout")
            except OSError as error:
                why = "it is closed" if error.errno == errno.EBADF else error.strerror
                self.trouble = OutputError(f"cannot be written ({why})", "stdout")
        if self.trouble is not None:
            raise self.trouble

    def _write_out(self) -> None:
        held = self._unwritten
        data = memoryview(bytes(held.data))
        while rest := data[sum(held.written) :]:
            try:
                # One call of C writes and takes down the number: nothing can come between the two.
                held.written.extend(map(os.write, (self._number,), (rest,)))
            except BlockingIOError:
                self._wait()
        self._unwritten = Unwritten(bytearray(), [])


class Stderr(Descriptor):
    """Stderr; its errors are ignored, so that a message never changes the result of a command."""

    patience = PATIENCE

    def write(self, data: ReadableBuffer, /) -> int:
        with contextlib.suppress(OSError):
            super().write(data)
        return memoryview(data).nbytes


class Text(io.TextIOBase):
    """A text stream for libraries (click's help and prompts, tqdm's bars, Python's warnings), in any locale."""

    on_bar = False
    """Whether a progress bar stands on the line."""
    encoding: str = "utf-8" if sys.getfilesystemencoding() == "utf-8" else "iso8859-1"
    """The encoding that libraries see; never ASCII, for which click would write UTF-8 by itself."""

    def __init__(self, buffer: Descriptor) -> None:
        self.buffer = buffer

    def write(self, text: str, /) -> int:
        self.buffer.write(encoded(text))
        self.on_bar = text.startswith("\r") and not text.endswith(("\r", "\n"))
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
    """Replace sys.stdout and sys.stderr; returns the new stdout."""
    _fill_missing_streams()
    stdout = Stdout(1)
    sys.stdout = cast("TextIO", Text(stdout))
    sys.stderr = cast("TextIO", Text(Stderr(_second_stderr())))
    return stdout


def _second_stderr() -> int:
    """Duplicate stderr for messages: they are shown even while the output of libraries to descriptor 2 is muted."""
    try:
        return os.dup(2)
    except OSError:
        return 2


def _fill_missing_streams() -> None:
    """Open the null device for a missing stdin, stdout or stderr, so that no file of the index gets its number.

    A missing stdout is opened read-only, so that writing results to it is an error.
    """
    for number, name, flags in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, flags), number)
            if number == 0:
                sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 (open as long as the process runs)


class Results:
    """Stdout for the results of a command."""

    def __init__(self, stream: BinaryIO, *, lasting: bool) -> None:
        self._stream, self._lasting = stream, lasting
        self.terminal = stream.isatty()

    def write(self, data: bytes, /) -> None:
        """Write rows, JSON or paths: unchanged to a pipe, with control characters escaped to a terminal."""
        self.draw(encoded(printable(os.fsdecode(data), layout=ROWS)) if self.terminal else data)

    def line(self, text: str) -> None:
        """Write a line of text."""
        self.write(encoded(text.replace("\n", "\\n")) + b"\n")

    def draw(self, data: bytes, /) -> None:
        """Write bytes with control sequences of facecli (colours, links, images); names in them are already escaped."""
        try:
            self._stream.write(data)
        except OutputError:
            if not self._lasting:
                raise

    def flush(self) -> None:
        """Write out what is buffered."""
        try:
            self._stream.flush()
        except OutputError:
            if not self._lasting:
                raise

    @property
    def drawn(self) -> Drawn:
        """A sink for writers that use control sequences."""
        return Drawn(self)


class Drawn:
    """A sink for UTF-8 bytes with control sequences."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def write(self, data: bytes, /) -> None:
        """Write `data` in the encoding of the locale."""
        self._results.draw(encoded(data.decode()))


@contextlib.contextmanager
def results(*, lasting: bool = False) -> Iterator[Results]:
    """Open stdout for a command; it is flushed at the end, so that the command sees its errors.

    With `lasting`, for commands that do more than print, an error of stdout stops only the printing; the exit code
    still reports it.
    """
    out = Results(sys.stdout.buffer, lasting=lasting)
    yield out
    out.flush()


def tell(message: str) -> None:
    """Write one line to stderr, in place of a progress bar that stands there; errors are ignored."""
    shown = printable(message) if sys.stderr.isatty() else message.replace("\n", "\\n").replace("\r", "\\r")
    with contextlib.suppress(OSError):
        clear = CLEAR if getattr(sys.stderr, "on_bar", False) else b""
        sys.stderr.buffer.write(clear + encoded(shown) + b"\n")
        sys.stderr.buffer.flush()


def say_error(message: str, hint: str) -> None:
    """Print an error and its hint, one line each."""
    tell(f"facecli: error: {message}")
    if hint:
        tell(f"hint: {hint}")
