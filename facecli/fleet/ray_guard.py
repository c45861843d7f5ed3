"""Cleans up after a driver that was killed: Ray's own helpers outlive it, and its files stay.

The guard is a process that learns the driver's processes and folder, a line each, through a pipe that closes when the
driver ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys

_START = (
    "import sys; sys.argv[1] in sys.path or sys.path.insert(0, sys.argv[1]); "
    "from facecli.fleet.ray_guard import main; main()"
)


class Guard:
    """The driver's side."""

    def __init__(self, folder: str) -> None:
        root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self._process = subprocess.Popen(  # noqa: S603 (fixed arguments)
            [sys.executable, "-P", "-c", _START, root, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # signals for the driver's group are not for it
        )

    def learn(self) -> None:
        """Tell the guard which processes are below this one now."""
        assert self._process.stdin is not None
        known = {self._process.pid}
        lines = [f"{pid} {_start_of(pid)}\n" for pid in processes_below(os.getpid()) if pid not in known]
        with contextlib.suppress(OSError):
            self._process.stdin.write("".join(lines).encode())
            self._process.stdin.flush()

    def close(self) -> None:
        """Let the guard end what is left, and wait for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()


def processes_below(pid: int) -> list[int]:
    """All processes below one."""
    parents = {int(name): _field(int(name), 1) for name in os.listdir("/proc") if name.isdigit()}
    found, new = list[int](), [str(pid)]
    while new:
        children = [child for child, parent in parents.items() if parent in new]
        found, new = found + children, [str(child) for child in children]
    return found


def _start_of(pid: int) -> str:
    """When a process was started: its number alone may be another's by now."""
    return _field(pid, 19)


def _field(pid: int, number: int) -> str:
    """A field of /proc/PID/stat after the name; empty if there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[number].decode("ascii")
    except (OSError, IndexError):
        return ""


def main() -> None:
    """Wait for the end of the driver; then end the processes that it has named, and remove its folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    named = dict(line.split() for line in sys.stdin if len(line.split()) == 2)
    for pid, start in named.items():
        if _start_of(int(pid)) == start:
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)
    shutil.rmtree(sys.argv[2], ignore_errors=True)
