"""Plan batch sizes for a GPU from its free memory before the first batch, since every failure costs a batch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from facecli.vision.packs.resolve import ModelPack
from facecli.vision.recognition.alignment import CROP

DETECTOR_BYTES = ((4_000_000, 60), (math.inf, 124))
"""Peak memory of a detector's activations, in bytes per pixel of its input, by file size of the model.

Calculated for the known networks in single precision at their largest layer, the stem: the input, and 24 (det_2.5g) or
56 maps (det_10g) of half the input's sides, before and after a Relu. The 500M model needs 32, calculated, and measured
with ONNX Runtime on a CPU."""
RECOGNISER_BYTES = ((20_000_000, 268), (math.inf, 780))
"""The same for a recogniser, per pixel of a crop: MobileFaceNet needs 256, calculated and measured; R50 and R100 hold
the input and three times 64 maps of the crop's size in their first block."""
SCRATCH = 1.5
"""Factor for the workspace of convolutions. An assumption: cuDNN chooses it by GPU."""
RESERVE = 400_000_000
"""Bytes reserved for memory that does not grow with the batch: cuBLAS workspaces, cuDNN's kernels, and changes in other
programs' use."""


def row_bytes(pack: ModelPack, side: int, *, half: bool) -> dict[str, int]:
    """GPU memory in bytes that one row of a batch needs, by stage.

    half: the recogniser computes in half precision.
    """
    detector = _by_size(pack.detector.path, DETECTOR_BYTES) * side * side * SCRATCH
    recogniser = _by_size(pack.recogniser.path, RECOGNISER_BYTES) * CROP * CROP * SCRATCH
    return {"detect": round(detector), "embed": round(recogniser / 2 if half else recogniser)}


def _by_size(path: str, bytes_of: tuple[tuple[float, int], ...]) -> int:
    size = os.path.getsize(path)
    return next(found for largest, found in bytes_of if size <= largest)


def largest_batches(free: int, row: Mapping[str, int], wanted: Mapping[str, int], running: int) -> dict[str, int]:
    """The largest batch size of each stage that fits into `free` bytes, with `running` batches of each at once.

    Starting from the wanted sizes, the largest is halved (of equal ones the one that needs more memory) until they fit
    or are 1; one row is always tried.
    """
    most = dict(wanted)
    room = (free - RESERVE) / running
    while sum(most[stage] * row[stage] for stage in most) > room and max(most.values()) > 1:
        stage = max(most, key=lambda stage: (most[stage], row[stage]))
        most[stage] //= 2
    return most
