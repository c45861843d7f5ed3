"""A short soak: a few kills over real runs."""

from __future__ import annotations

import random
from pathlib import Path

from soak import soak


def test_a_few_kills_lose_nothing(tmp_path: Path) -> None:
    tally = soak(tmp_path, kills=3, photos=12, dice=random.Random(3))
    assert (tally.kills, tally.lost, tally.reports) == (3, 0, [])
