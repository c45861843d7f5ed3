"""Half precision on a GPU: chosen by a trial, reported, with the same embeddings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_in import stands_in

from facecli.config import DetectionOptions, Precision
from facecli.vision.models import Needs, Serving, open_served
from facecli.vision.optimization import half_precision
from facecli.vision.optimization.equivalence import LEAST_OF
from facecli.vision.packs.resolve import find_pack
from facecli.vision.runtime.providers import Device

pytestmark = pytest.mark.gpu
WHATEVER, NEVER = 1e9, 0.0
"""Shares of single precision's time that half precision may take."""


@pytest.fixture(autouse=True)
def _fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_is_chosen_is_said_with_its_reason_and_kept(gpus: tuple[Device, ...], notes: Any) -> None:
    said = []
    for _ in range(2):
        models = open_served(find_pack(None), gpus[0], Needs(DetectionOptions()), Serving(8), notes)
        kind = "half" if models.half else "single"
        said.append(
            [line for line in notes.details if f"w600k_mbf.onnx on {gpus[0].name} computes in {kind} precision" in line]
        )
    assert [len(lines) for lines in said] == [1, 2]
    assert said[1][0] == said[1][1], "the second time it is not tried again"


@pytest.mark.parametrize("precision", [Precision.EXACT] if stands_in() else list(Precision))
def test_half_precision_keeps_every_face_and_its_embedding(
    precision: Precision,
    gpus: tuple[Device, ...],
    on_gallery: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(half_precision, "LEAST_GAIN", NEVER)
    single = on_gallery(gpus, precision=precision)
    assert all(
        "single precision; in half precision it takes" in line for line in single.notes.details if "computes in" in line
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another-cache"))
    monkeypatch.setattr(half_precision, "LEAST_GAIN", WHATEVER)
    half = on_gallery(gpus, precision=precision)
    assert [line for line in half.notes.details if "computes in half precision" in line], "the proof holds on this GPU"
    cosines, (least, mean) = half.cosines(single), LEAST_OF[precision]
    assert cosines.min() >= least
    assert cosines.mean() >= mean
    assert np.median(cosines) < 1 - 5e-7, "it was another precision"
