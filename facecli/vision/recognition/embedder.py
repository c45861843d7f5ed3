"""Compute embeddings of unit length from aligned crops."""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from facecli.types import ByteArray, FloatArray
from facecli.vision.pixels import pixel_values
from facecli.vision.recognition.alignment import CROP
from facecli.vision.runtime.batches import Batches
from facecli.vision.runtime.session import Session


class Embedder:
    """Computes embeddings of crops; thread-safe."""

    def __init__(self, batches: Batches, *, normalisation: tuple[float, float]) -> None:
        """Run the network in batches; its input is (pixel - mean) * factor with `normalisation` = (mean, factor)."""
        self.batches = batches
        self._takes_pixels = batches.session.input.pixels
        self._values = pixel_values(*normalisation)
        self._own = threading.local()
        self.dimension = _dimension(batches.session)

    @property
    def provider(self) -> str:
        """The provider that runs the network; it changes when a session switches over."""
        return self.batches.session.provider

    def embed(self, crops: ByteArray) -> FloatArray:
        """Embed `crops`, uint8 (n, 112, 112, 3) RGB, as float32 (n, dimension) with rows of unit length.

        Raises DeviceError if the network fails.
        """
        vectors = np.empty((len(crops), self.dimension), np.float32)
        start = 0
        while start < len(crops):
            part = crops[start : start + self.batches.largest]
            for rows, outputs in self.batches.run(self._filled(part), len(part)):
                vectors[start : start + rows] = outputs[0].reshape(rows, -1)
                start += rows
        vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
        return vectors

    def _filled(self, crops: ByteArray) -> NDArray[Any]:
        """The network's input for a batch, with room for padding after it."""
        blob = self._blob(self.batches.room_for(len(crops)))
        if self._takes_pixels:
            blob[: len(crops)] = crops
            return blob
        for crop, planes in zip(crops, blob[: len(crops)], strict=True):
            for channel, plane in enumerate(cv2.split(crop)):
                cv2.LUT(plane, self._values, planes[channel])
        return blob

    def _blob(self, rows: int) -> NDArray[Any]:
        """This thread's buffer for `rows` crops: uint8 (rows, 112, 112, 3) or float32 (rows, 3, 112, 112)."""
        kept: NDArray[Any] | None = getattr(self._own, "blob", None)
        if kept is None or len(kept) < rows:
            shape = (rows, CROP, CROP, 3) if self._takes_pixels else (rows, 3, CROP, CROP)
            kind = np.dtype(np.uint8 if self._takes_pixels else np.float32)
            kept = self._own.blob = self.batches.blank(shape, kind)
        return kept[:rows]


def _dimension(session: Session) -> int:
    declared = session.outputs[0].shape[-1]
    pixels = session.input.pixels
    blank = np.zeros((1, CROP, CROP, 3), np.uint8) if pixels else np.zeros((1, 3, CROP, CROP), np.float32)
    return declared or int(session.run(blank)[0].shape[-1])
