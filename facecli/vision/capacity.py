"""How large batches may be on a GPU: reckoned from its free memory before the first one, since every failure costs a batch."""

from __future__ import annotations

from collections.abc import Mapping

from facecli.vision.align import CROP

DETECTOR_BYTES = 124
"""What the detector's values take at their most, for each pixel of its input. Of the known ones det_10g needs that, in its stem: the input, and 56
maps of half its sides before and after a Relu. The 500M needs 32, by the same reckoning and as measured with ONNX Runtime on a CPU."""
RECOGNISER_BYTES = 780
"""The same of the recogniser, for each pixel of a crop: the R50 and R100 keep, beside the input, three times 64 maps of the crop's sides in their
first block. The MobileFaceNet needs 256, reckoned and measured."""
SCRATCH = 1.5
"""The room that convolutions work in beside their input and output, as a factor. cuDNN decides it by the GPU: an assumption."""
RESERVE = 400_000_000
"""Bytes left to what does not grow with a batch: the work spaces of cuBLAS, cuDNN's kernels as they are loaded, and other programs' changes."""


def row_bytes(side: int, *, half: bool) -> dict[str, int]:
    """What one row of a batch takes of a GPU's memory, by stage; `half` says that the recogniser computes in half precision."""
    recogniser = RECOGNISER_BYTES * CROP * CROP * SCRATCH
    return {"detect": round(DETECTOR_BYTES * side * side * SCRATCH), "embed": round(recogniser / 2 if half else recogniser)}


def largest_batches(free: int, row: Mapping[str, int], wanted: Mapping[str, int], running: int) -> dict[str, int]:
    """The largest size of batch of each stage, so that all fit into `free` bytes with `running` batches of each at once.

    From the sizes that are wanted the largest is halved, of equal ones that which takes more, until they fit or are one; one row is always
    tried.
    """
    most = dict(wanted)
    room = (free - RESERVE) / running
    while sum(most[stage] * row[stage] for stage in most) > room and max(most.values()) > 1:
        stage = max(most, key=lambda stage: (most[stage], row[stage]))
        most[stage] //= 2
    return most
