"""Align faces: from five landmarks to an upright crop of 112 x 112 pixels.

The template is ArcFace's (Deng et al., 2019; insightface.utils.face_align). The least-squares similarity transform is
Umeyama's (1991); in the plane it has a closed form over complex numbers: with centred points p and template q, the
factor is sum(conj(p) q) / sum(|p|^2), which rotates and scales but never mirrors.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from facecli.types import ByteArray, FloatArray
from facecli.vision.pixels import view_of

CROP = 112
"""Side of a crop in pixels."""
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
"""Positions of the five landmarks in a crop: x, y in pixels."""


def fit_similarity(landmarks: FloatArray) -> NDArray[np.float64]:
    """The similarity transforms that map landmarks to the template, least squares (Umeyama, 1991).

    landmarks: float32 (n, 5, 2), x and y in pixels of the photo. Gives float64 (n, 2, 3), in the form of
    cv2.warpAffine. Landmarks that all coincide give a constant map.
    """
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
    """Cut aligned crops out of a photo, bilinear interpolation.

    pixels: uint8 (h, w, 3), RGB; flipped and transposed views are read in place. landmarks: float32 (n, 5, 2), x and y
    in pixels of the photo. Gives uint8 (n, 112, 112, 3), RGB, black outside the photo.
    """
    crops = np.empty((len(landmarks), CROP, CROP, 3), np.uint8)
    cut_crops(pixels, fit_similarity(landmarks), crops)
    return crops


def cut_crops(pixels: ByteArray, matrices: NDArray[np.float64], crops: ByteArray) -> None:
    """Fill `crops`, uint8 (n, 112, 112, 3), from a photo, uint8 (h, w, 3), by transforms of `fit_similarity`."""
    view = view_of(pixels)
    if not view.plain:
        matrices = matrices @ np.linalg.inv(view.to_frame())
    for matrix, crop in zip(matrices, crops, strict=True):
        cv2.warpAffine(view.frame, matrix, (CROP, CROP), dst=crop, borderValue=0.0)
