"""Progress and messages on stderr: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Never

from facecli.cli.streams import tell
from facecli.output.paths import shown_path

if TYPE_CHECKING:
    import tqdm

    from facecli.types import Skipped

LINE_SECONDS = 10.0
"""Interval of the plain progress lines."""


class Console:
    """The Reporter of the command line."""

    def __init__(
        self, *, quiet: bool, verbose: bool, absolute: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.quiet = quiet
        self.watched = not quiet
        self.verbose = verbose and not quiet
        self.absolute = absolute
        self.terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = clock
        self._bar: tqdm.tqdm[Never] | None = None
        self._what = ""
        self._total: int | None = None
        self._done = 0
        self._began = self._said = 0.0
        self._counts: dict[str, int] = {}

    def start(self, what: str, total: int | None) -> None:
        """Start counting."""
        self.stop()
        self._what, self._total, self._done, self._counts = what, total, 0, {}
        self._began = self._said = self._clock()
        if self.terminal and not self.quiet:
            # Imported here, so that only commands with a bar load it.
            import tqdm  # noqa: PLC0415

            self._bar = tqdm.tqdm(
                total=total, unit=f" {what}", file=sys.stderr, dynamic_ncols=True, leave=False, mininterval=0.2
            )

    def expect(self, total: int) -> None:
        """Set the total while counting; may be called from any thread."""
        self._total = total
        bar = self._bar
        if bar is not None:
            bar.total = total
            bar.refresh()

    def advance(self, done: int, **counts: int) -> None:
        """Report `done` more items."""
        self._done += done
        self._counts |= counts
        if not self._done:  # nothing was to do so far, which tells no rate
            self._began = self._clock()
        if self._total is not None and self._done > self._total:
            self.expect(self._done)
        if self._bar is not None:
            self._bar.set_postfix(self._counts, refresh=False)
            self._bar.update(done)
        elif not self.quiet and self._clock() - self._said >= LINE_SECONDS:
            self._said = self._clock()
            self.say(self._state())

    def _state(self) -> str:
        """Format the plain line: count, rate, time left."""
        seconds = self._clock() - self._began
        rate = self._done / seconds if seconds > 0 else 0.0
        parts = [
            f"{self._done} of {self._total} {self._what}" if self._total else f"{self._done} {self._what}",
            f"{rate:.1f} {self._what}/s",
        ]
        if self._total and rate > 0:
            parts.append(f"{_duration((self._total - self._done) / rate)} left")
        return ", ".join(parts + [f"{value} {name}" for name, value in self._counts.items()])

    def skip(self, skipped: Skipped) -> None:
        """Print a photo that cannot be read, with the reason."""
        self.warn(f"skipped: {self._shown(skipped.file.path)}: {skipped.reason}: {skipped.detail}")

    def _shown(self, path: str) -> str:
        try:
            return shown_path(path, absolute=self.absolute, working_directory=os.getcwd())
        except OSError:  # the working directory is gone; the message is printed anyway
            return path

    def warn(self, message: str) -> None:
        """Print a message, unless --quiet."""
        if not self.quiet:
            self.say(message)

    def detail(self, message: str) -> None:
        """Print a message with --verbose."""
        if self.verbose:
            self.say(message)

    def say(self, message: str) -> None:
        """Print one line to stderr, above the bar if there is one."""
        if self._bar is not None:
            self._bar.clear()
        tell(message)
        if self._bar is not None:
            self._bar.refresh()

    def stop(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _duration(seconds: float) -> str:
    """Format a duration: 42 s, 7 min, 3 h 20 min."""
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
