"""Match the faces of a photo with those found before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facecli.store.people.following import overlaps_of_numbers, pair_by_likeness
from facecli.store.vector_file import Codes
from facecli.types import FloatArray

SAME_IOU = 0.9
SAME_COSINE = 0.98
KEPT_OUT_IOU = 0.5
"""The IoU from which a face counts as a removed one; low, since other settings may detect it a bit differently."""


def match_faces(old: tuple[FloatArray, Codes], new: tuple[FloatArray, Codes]) -> dict[int, int]:
    """Map the index of each new face that is the same as an old one to the index of that; each is used at most once.

    Faces are given as boxes float32 (n, 4), x1, y1, x2, y2 in pixels, and embeddings float16 (n, d). Two faces are the
    same with an IoU of at least 0.9 and a cosine of at least 0.98; pairs are matched by falling IoU.
    """
    if not len(old[0]) or not len(new[0]):
        return {}
    cosine = _unit(new[1]) @ _unit(old[1]).T
    return pair_by_likeness(np.where(cosine >= SAME_COSINE, overlaps_of_numbers(new[0], old[0]), 0), SAME_IOU)


def _unit(codes: Codes) -> NDArray[np.float64]:
    wide = np.nan_to_num(codes.astype(np.float64), posinf=0, neginf=0)
    length = np.linalg.norm(wide, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(wide, length, out=np.zeros_like(wide), where=length > 0)
    return unit
