"""The benchmark of grouping: its scores are right, and it works on a small tree."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import sample

sys.path.insert(0, str(Path(__file__).parent))
from people_scores import score


def test_scores_of_a_grouping_worked_out_by_hand() -> None:
    """Groups {a a b} {b} {c c}, where one c, and one bystander, are in none."""
    groups = np.array([0, 0, 0, 1, 2, 2, -1, 2])
    truth = np.array([0, 0, 1, 1, 2, 2, 2, -1])
    found = score(groups, truth)
    assert found.precision == pytest.approx((2 * 2 / 3 + 1 / 3 + 1 + 2 + 1) / 7)
    assert found.recall == pytest.approx((2 + 2 * 0.5 + 2 * 2 / 3 + 1 / 3) / 7)
    assert found.pair_precision == pytest.approx(2 / 4)
    assert found.pair_recall == pytest.approx(2 / 5)
    assert (found.groups, found.people) == (2, 3)
    assert found.alone == pytest.approx(1 / 7)
    assert found.largest == pytest.approx(6 / 7)


@pytest.mark.slow
def test_smoke(tmp_path: Path) -> None:
    for person, photo in (("anna", "t1.jpg"), ("ben", "players.jpg"), ("ben", "yaoming.jpg")):
        (tmp_path / "tree" / person).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(sample(photo), tmp_path / "tree" / person / photo)
    command = [sys.executable, str(Path(__file__).with_name("grouping.py")), str(tmp_path / "tree"), "--json"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)
    assert [row["method"].partition(",")[0] for row in rows] == [
        "facecli people",
        "exact average linkage",
        "Chinese whispers",
    ]
    assert rows[0]["two_of_one_photo"] == 0
    assert all(0 <= row["precision"] <= 1 for row in rows)
