"""The benchmark of indexing works, and facecli finds the same faces as InsightFace."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_smoke() -> None:
    script = Path(__file__).with_name("index_speed.py")
    done = subprocess.run(
        [sys.executable, str(script), "--smoke", "--json"], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    results = json.loads(done.stdout)
    assert [r["corpus"] for r in results] == ["small", "web", "large"]
    for result in results:
        assert result["parity"]["faces"] > 0
        assert result["ratios"][0] > 0
