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
    found = json.loads(done.stdout)
    stages = {"read", "decode", "letterbox", "post-process", "align", "result", "faces"}
    assert [set(floor) for floor in found["floors"].values()] == [stages] * 3
    assert [(row["cores"], row["photos"], row["faces"]) for row in found["rows"]] == [(1, 72, 72), (2, 72, 72)]
    assert [row["device_busy"] != 0 for row in found["rows"]] == [False, True]
    assert all(row["worker_milliseconds"] and row["driver_milliseconds"] for row in found["rows"])
