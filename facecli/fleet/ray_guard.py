"""Cleans up after a driver that was killed: Ray's own helpers outlive it, and its files stay.

The guard is a process that learns of the driver's end by a pipe. It knows Ray's processes by a variable of their
environment, which they inherit from one another whoever has ended, and which no other process has.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time

LONGEST_SECONDS = 10.0
"""How long the guard tries to end all of Ray's processes."""
_MARK = "RAY_FOLDER_OF_FACECLI"
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

    def close(self) -> None:
        """Let the guard end what is left, and wait for it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()


def mark_of(folder: str) -> dict[str, str]:
    """What the environment of Ray's first processes must have: the folder of their files, which has a name of its own.

    It should be set no longer than they need to start.
    """
    return {_MARK: folder}


def _processes_of(folder: str) -> list[int]:
    """Ray's processes that have the mark and name the folder, or have renamed themselves.

    The mark alone would not do: another thread of a program that uses facecli may have started one of its own.
    """
    mark = os.fsencode(f"{_MARK}={folder}")
    found = list[int]()
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
        command = _read(pid, "cmdline")
        is_rays = command.startswith(b"ray::") or os.fsencode(folder) in command
        if is_rays and mark in _read(pid, "environ").split(b"\0"):
            found.append(pid)
    return found


def _read(pid: int, name: str) -> bytes:
    """A file about a process; empty if it has ended, or is another user's."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as file:
            return file.read()
    except OSError:
        return b""


def _end_all(folder: str) -> None:
    """End Ray's processes; those that one of them has just begun may be seen only a moment later."""
    deadline, looks = time.monotonic() + LONGEST_SECONDS, 2
    while looks and time.monotonic() < deadline:
        found = _processes_of(folder)
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        looks = 2 if found else looks - 1
        time.sleep(0.05 if looks else 0)


def main() -> None:
    """Wait for the end of the driver; then end Ray's processes, and remove its folder."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    _end_all(sys.argv[2])
    shutil.rmtree(sys.argv[2], ignore_errors=True)
