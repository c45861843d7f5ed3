"""The benchmark of the writer works on few photos."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_smoke(tmp_path: Path) -> None:
    script = Path(__file__).with_name("writer.py")
    command = [sys.executable, str(script), "--photos", "60", "--faces", "2", "--folder", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert (figures["photos"], figures["faces"], figures["parts"]) == (60, 120, 4)
    assert figures["driver_photos_per_cpu_second"] > 0
    assert list(tmp_path.iterdir()) == []
