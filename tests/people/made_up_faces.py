"""Made-up embeddings of people, strangers and families, whose truth is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facecli.people.grouping import Faces
from facecli.types import FloatArray

CLOSENESS = 0.78
"""The cosine of a face and its person: two faces of one person have about 0.6, as on good photos."""


def directions(count: int, seed: int) -> FloatArray:
    vectors = np.random.default_rng(seed).standard_normal((count, 512), np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def faces_like(people: FloatArray, closeness: float = CLOSENESS, seed: int = 1) -> FloatArray:
    """A face of each row of `people`, float32 (n, 512)."""
    noise = directions(len(people), seed)
    noise -= (noise * people).sum(axis=1, keepdims=True) * people
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(closeness * people + (1 - closeness**2) ** 0.5 * noise, np.float32)


def as_faces(vectors: FloatArray, contents: NDArray[np.int64] | None = None) -> Faces:
    """Faces with ids from 1 on, each in a photo of its own unless `contents` says otherwise."""
    count = len(vectors)
    corners = np.arange(count, dtype=np.float32)[:, None] * np.ones((1, 4), np.float32)
    return Faces(
        np.arange(1, count + 1),
        np.arange(count) if contents is None else contents,
        corners + np.array([0, 0, 80, 100], np.float32),
        np.full(count, 0.8, np.float32),
        vectors.astype(np.float16),
    )


def album(seed: int = 3) -> tuple[Faces, NDArray[np.int64]]:
    """40 people with 2 to 12 faces and 60 strangers, in random order; and the person of each face."""
    draw = np.random.default_rng(seed)
    sizes = np.concatenate([draw.integers(2, 13, 40), np.ones(60, np.int64)])
    truth = draw.permutation(np.repeat(np.arange(100), sizes))
    return as_faces(faces_like(directions(100, seed)[truth], seed=seed + 1)), truth
