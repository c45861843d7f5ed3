"""Compute embeddings of unit length from aligned crops."""

from __future__ import annotations

import threading

import cv2
import numpy as np

from facecli.types import ByteArray, FloatArray
from facecli.vision.pixels import pixel_values
from facecli.vision.recognition.alignment import CROP
from facecli.vision.runtime.session import Session


class Embedder:
    """Computes embeddings of crops; thread-safe."""

    def __init__(self, session: Session, *, chunk: int, normalisation: tuple[float, float]) -> None:
        """Run at most `chunk` crops at once, or `session.most` if the session has that attribute.

        The network's input is (pixel - mean) * factor with `normalisation` = (mean, factor).
        """
        self._session = session
        self._chunk = chunk if session.input.shape[0] is None else 1
        mean, factor = normalisation
        self._values = pixel_values(mean, factor)
        self._own = threading.local()
        self.dimension = _dimension(session)

    @property
    def provider(self) -> str:
        """The provider that runs the network; it changes when a session switches over."""
        return self._session.provider

    def embed(self, crops: ByteArray) -> FloatArray:
        """Embed `crops`, uint8 (n, 112, 112, 3) RGB, as float32 (n, dimension) with rows of unit length.

        Raises DeviceError if the network fails.
        """
        if not len(crops):
            return np.zeros((0, self.dimension), np.float32)
        chunk = getattr(self._session, "most", None) or self._chunk
        parts = [self._run(crops[start : start + chunk]) for start in range(0, len(crops), chunk)]
        vectors = np.concatenate(parts)
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return vectors

    def _run(self, crops: ByteArray) -> FloatArray:
        blob = self._blob(len(crops))
        for crop, planes in zip(crops, blob, strict=True):
            for channel, plane in enumerate(cv2.split(crop)):
                cv2.LUT(plane, self._values, planes[channel])
        vectors: FloatArray = self._session.run(blob)[0]
        return vectors.reshape(len(crops), -1)

    def _blob(self, count: int) -> FloatArray:
        """This thread's buffer for `count` crops: float32 (count, 3, 112, 112)."""
        kept: FloatArray | None = getattr(self._own, "blob", None)
        if kept is None or len(kept) < count:
            kept = self._own.blob = np.empty((count, 3, CROP, CROP), np.float32)
        return kept[:count]


def _dimension(session: Session) -> int:
    declared = session.outputs[0].shape[-1]
    return declared or int(session.run(np.zeros((1, 3, CROP, CROP), np.float32))[0].shape[-1])
