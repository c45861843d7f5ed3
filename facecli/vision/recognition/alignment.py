"""Five landmarks to an upright face of 112 x 112 pixels.

The template is ArcFace's (Deng et al., 2019; insightface.utils.face_align). The similarity that fits best in the least
squares sense is Umeyama's (1991); in the plane it has a closed form over complex numbers: with centred points p and
template q, the factor is sum(conj(p) q) / sum(|p|^2), which turns and scales but never mirrors.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facecli.types import ByteArray, FloatArray
from facecli.vision.pixels import view_of

CROP = 112
"""Side of an aligned face in pixels."""
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Where the five landmarks come to lie: x, y in pixels of the aligned face."""


def fit_similarity(landmarks: FloatArray) -> NDArray[np.float64]:
    """The matrices, float64 (n, 2, 3), that take landmarks (n, 5, 2) to the template; points that all coincide give a constant map."""
    points = landmarks[..., 0] + 1j * landmarks[..., 1].astype(np.float64)
    target = TEMPLATE[:, 0] + 1j * TEMPLATE[:, 1].astype(np.float64)
    middle, target_middle = points.mean(axis=1, keepdims=True), target.mean()
    centred = points - middle
    spread = (centred.real**2 + centred.imag**2).sum(axis=1)
    factor = (centred.conj() * (target - target_middle)).sum(axis=1) / np.maximum(spread, np.finfo(np.float64).tiny)
    shift = target_middle - factor * middle[:, 0]
    rows = (factor.real, -factor.imag, shift.real), (factor.imag, factor.real, shift.imag)
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=1)


def align_faces(pixels: ByteArray, landmarks: FloatArray) -> ByteArray:
    """Cut the faces out of a photo.

    pixels: uint8 (h, w, 3), RGB; flips and transpositions of a frame are read in place. landmarks: float32 (n, 5, 2), x
    and y in pixels of the photo. Gives uint8 (n, 112, 112, 3), black where the photo ends.
    """
    view = view_of(pixels)
    crops = np.empty((len(landmarks), CROP, CROP, 3), np.uint8)
    matrices = fit_similarity(landmarks)
    if not view.plain:
        matrices = matrices @ np.linalg.inv(view.to_frame())
    for matrix, crop in zip(matrices, crops, strict=True):
        cv2.warpAffine(view.frame, matrix, (CROP, CROP), dst=crop, borderValue=0.0)
    return crops
