"""The examples of indexing in parts run as they are written, but for the scheduler that calls them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Shell

EXAMPLES = Path(__file__).parent.parent / "examples/fleet"
SCRIPT = re.compile(r"^ +- \|\n((?: {14}.*\n)+)", re.MULTILINE)


@pytest.fixture
def run(shell: Shell, tmp_path: Path, album: Path) -> Run:
    return Run(shell, tmp_path, album)


class Run:
    """Runs scripts with facecli on the path."""

    def __init__(self, shell: Shell, place: Path, album: Path) -> None:
        self._shell, self.shards, self.target = shell, place / "shards", place / "all"
        tools = place / "bin"
        tools.mkdir()
        (tools / "facecli").write_text(f'#!/bin/sh\nexec {sys.executable} -m facecli "$@"\n')
        (tools / "facecli").chmod(0o755)
        self._environment = shell.environment | {
            "PATH": f"{tools}:{shell.environment['PATH']}",
            "PHOTOS": str(album),
            "SHARDS": str(self.shards),
            "TARGET": str(self.target),
            "FACECLI_EXAMPLES": str(EXAMPLES),
        }

    def __call__(self, *command: str, **environment: str) -> None:
        done = subprocess.run(
            ["bash", "-eu", *command],
            env=self._environment | environment,
            cwd=self._shell.work,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def ask_whole(self) -> None:
        """Fail unless the merged index is that of one run."""
        self._shell("index", "-q", "-i", "one", "album")
        listed = [self._shell("info", "-i", str(index), "--photos").out for index in (self.target, "one")]
        assert listed[0] == listed[1]
        assert len(listed[0].splitlines()) == 4


def test_a_slurm_array_and_its_merge(run: Run) -> None:
    for part in ("3", "1", "2"):
        run(str(EXAMPLES / "slurm.sh"), SLURM_ARRAY_TASK_ID=part, SLURM_ARRAY_TASK_COUNT="3")
    assert {path.name for path in run.shards.iterdir()} == {f"part-{n}-of-3" for n in (1, 2, 3)}
    for _ in range(2):
        run(str(EXAMPLES / "merge.sh"), str(run.shards), str(run.target))
    run.ask_whole()


def test_an_indexed_job_of_kubernetes_and_its_merge(run: Run) -> None:
    index, merge = SCRIPT.findall((EXAMPLES / "kubernetes.yaml").read_text("utf-8"))
    for number in range(2):
        run("-c", index, JOB_COMPLETION_INDEX=str(number), PARTS="2")
    run("-c", merge)
    run.ask_whole()
