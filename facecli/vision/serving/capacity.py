"""How large batches may be on a GPU: reckoned from its free memory before the first one, since every failure costs a batch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from facecli.vision.packs.resolve import ModelPack
from facecli.vision.recognition.alignment import CROP

DETECTOR_BYTES = ((4_000_000, 60), (math.inf, 124))
"""What a detector's values take at their most, in bytes for each pixel of its input, by the size of its file.
Reckoned of the known networks in single precision, where each is largest, which is the stem: the input, and
before and after a Relu 24 (det_2.5g) or 56 maps (det_10g) of half its sides. The 500M needs 32, reckoned, and
measured with ONNX Runtime on a CPU."""
RECOGNISER_BYTES = ((20_000_000, 268), (math.inf, 780))
"""The same of a recogniser, for each pixel of a crop: the MobileFaceNet needs 256, reckoned and measured; the R50
and R100 keep, beside the input, three times 64 maps of the crop's sides in their first block."""
SCRATCH = 1.5
"""The room that convolutions work in beside their input and output, as a factor. cuDNN decides it by the GPU: an
assumption."""
RESERVE = 400_000_000
"""Bytes left to what does not grow with a batch: the work spaces of cuBLAS, cuDNN's kernels as they are loaded, and
other programs' changes."""


def row_bytes(pack: ModelPack, side: int, *, half: bool) -> dict[str, int]:
    """What one row of a batch takes of a GPU's memory, by stage; `half` says that the recogniser computes in half precision."""
    detector = _by_size(pack.detector.path, DETECTOR_BYTES) * side * side * SCRATCH
    recogniser = _by_size(pack.recogniser.path, RECOGNISER_BYTES) * CROP * CROP * SCRATCH
    return {"detect": round(detector), "embed": round(recogniser / 2 if half else recogniser)}


def _by_size(path: str, bytes_of: tuple[tuple[float, int], ...]) -> int:
    size = os.path.getsize(path)
    return next(found for largest, found in bytes_of if size <= largest)


def largest_batches(free: int, row: Mapping[str, int], wanted: Mapping[str, int], running: int) -> dict[str, int]:
    """The largest size of batch of each stage, so that all fit into `free` bytes with `running` batches of each at once.

    From the sizes that are wanted the largest is halved, of equal ones that which takes more, until they fit or are
    one; one row is always tried.
    """
    most = dict(wanted)
    room = (free - RESERVE) / running
    while sum(most[stage] * row[stage] for stage in most) > room and max(most.values()) > 1:
        stage = max(most, key=lambda stage: (most[stage], row[stage]))
        most[stage] //= 2
    return most
