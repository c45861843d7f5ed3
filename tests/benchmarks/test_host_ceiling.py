"""The benchmark of the host works on a few photos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_smoke() -> None:
    script = Path(__file__).with_name("host_ceiling.py")
    done = subprocess.run(
        [sys.executable, str(script), "--smoke", "--json"], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert [(row["cores"], row["photos"], row["faces"]) for row in rows] == [(1, 24, 24), (2, 24, 24)]
    assert all(row["photos_per_second"] > 0 for row in rows)
