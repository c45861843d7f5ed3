"""The length of embeddings: a broken recogniser's are no numbers, or of length 0."""

from __future__ import annotations

import numpy as np

from facecli.types import FloatArray

_NEARLY_ONE = 0.01
"""More than rounding to 16 bits moves the length of an embedding."""


def have_unit_length(embeddings: FloatArray) -> bool:
    """Whether all rows of `embeddings`, float32 (n, d), have unit length."""
    return bool((np.abs(np.linalg.norm(embeddings, axis=1) - 1) < _NEARLY_ONE).all())
