"""Parts of quickstart.sh; the whole script runs before these tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent


def assemble(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "examples/sample_album.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_album_is_that_of_the_tests(tmp_path: Path, album: Path, find_sample: Callable[[str], Path]) -> None:
    wanted = {f"album/{path.relative_to(album)}": path.read_bytes() for path in album.rglob("*") if path.is_file()}
    assert assemble(tmp_path / "assembled").returncode == 0
    seen = {
        str(path.relative_to(tmp_path / "assembled")): path.read_bytes()
        for path in (tmp_path / "assembled").rglob("*")
        if path.is_file()
    }
    assert seen == wanted | {"yaoming.jpg": find_sample("yaoming.jpg").read_bytes()}


def test_a_second_assembly_touches_nothing(tmp_path: Path) -> None:
    assemble(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert assemble(tmp_path).returncode == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_album_needs_a_folder() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/sample_album.py")], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (1, "usage: python sample_album.py DIR\n")


def run_in_environment(script: str, path: str) -> subprocess.CompletedProcess[str]:
    command = [shutil.which("bash") or "bash", "-c", f"source {ROOT}/examples/environment.sh; {script}"]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": path, "HOME": "/nonexistent"}
    )


def test_an_old_python_is_refused(tmp_path: Path) -> None:
    """A python3 that is too old is skipped; if there is no other, one line says what to do."""
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    done = run_in_environment("find_python", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == "facecli needs Python 3.11 or newer; name one with PYTHON=/path/to/python3\n"


def test_a_python_is_found_behind_an_old_one(tmp_path: Path) -> None:
    (tmp_path / "python3").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "python3.11").symlink_to(sys.executable)
    assert run_in_environment("find_python", str(tmp_path)).stdout == "python3.11\n"


def test_scripts_are_shell_and_can_be_run() -> None:
    scripts = [*ROOT.glob("examples/**/*.sh"), ROOT / "tests/run.sh", ROOT / ".ci/run"]
    assert len(scripts) >= 10
    for script in scripts:
        subprocess.run(["bash", "-n", str(script)], check=True)
        assert os.access(script, os.X_OK) or script.name == "environment.sh"


def test_ci_runs_the_two_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    commands = [line for line in (ROOT / ".ci/run").read_text("utf-8").splitlines() if line.startswith("bash ")]
    assert commands == ["bash examples/quickstart.sh", "bash tests/run.sh"]
    assert all(command in readme for command in commands)
