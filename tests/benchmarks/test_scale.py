"""The benchmark of growing indexes works on small ones."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_smoke(tmp_path: Path) -> None:
    script = Path(__file__).with_name("scale.py")
    command = [sys.executable, str(script), "--faces", "600", "1500", "--tries", "1", "--json", "--work", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert [(row["faces"], row["photos"]) for row in rows] == [(600, 120), (1500, 300)]
    assert all(value >= 0 for row in rows for value in row.values())
    assert list(tmp_path.iterdir()) == []
