"""The GPU benchmark works on the CPU, so it will work on a machine with a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_smoke() -> None:
    script = Path(__file__).with_name("gpu.py")
    done = subprocess.run(
        [sys.executable, str(script), "--device", "cpu:0,1", "--smoke"],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["device"], [r["corpus"] for r in result["corpora"]]) == ("cpu:0,1", ["small", "large"])
    for corpus in result["corpora"]:
        assert corpus["parity"]["faces"] > 0
        assert corpus["ratios"][0] > 0
        assert corpus["decode_only_photos_per_second"] > 0
    assert [(run["device"], run["batch_size"]) for run in result["sweeps"]["small"]] == [
        ("cpu:0", 2),
        ("cpu:0", 64),
        ("cpu:0,1", 64),
    ]
