"""Nothing leaves the machine: no system call of the commands connects, and ONNX Runtime's telemetry is off."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

CALLS = "trace=connect,sendto,sendmsg,sendmmsg"
OUTSIDE = re.compile(r"AF_INET6?\b")


def network_calls(shell: Shell, *arguments: str | Path, codes: tuple[int, ...] = (0,)) -> list[str]:
    """The system calls with an internet address, by a command and its helper processes."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    log = shell.work.parent / "calls"
    command = [
        "strace",
        "-f",
        "-qq",
        "-e",
        CALLS,
        "-o",
        str(log),
        sys.executable,
        "-m",
        "facecli",
        *map(str, arguments),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=shell.work, env=shell.environment, check=False, timeout=300
    )
    if not log.exists():
        pytest.skip("strace is not allowed to trace here")
    assert done.returncode in codes, done.stderr
    return [line for line in log.read_text(errors="replace").splitlines() if OUTSIDE.search(line)]


def test_no_command_opens_a_connection(shell: Shell, album: Path, find_sample: Callable[[str], Path]) -> None:
    assert network_calls(shell, "index", album) == []
    assert network_calls(shell, "search", find_sample("yaoming.jpg")) == []
    assert network_calls(shell, "doctor", codes=(0, 1)) == []


def test_a_connection_would_be_seen(shell: Shell) -> None:
    """The check itself works: downloading a pack from a closed local port appears in the calls."""
    shell.environment["FACECLI_MODELS_URL"] = "http://127.0.0.1:9/"
    assert network_calls(shell, "models", "pull", "buffalo_s", codes=(2,)) != []


def test_telemetry_is_off_before_the_runtime_is_loaded(shell: Shell) -> None:
    """Importing ONNX Runtime through facecli sets both switches."""
    program = (
        "import os, sys; from facecli.onnx_loading import load_onnxruntime; assert 'onnxruntime' not in sys.modules; load_onnxruntime(); "  # noqa: E501
        "print(os.environ.get('ORT_DISABLE_TELEMETRY'), os.environ.get('ORT_TELEMETRY_DISABLED'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=shell.environment, check=True
    )
    assert done.stdout == "1 1\n"
