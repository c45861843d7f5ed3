"""Made-up faces after the model of real ones.

Directions of people, and of the spread within a person, are drawn with the covariances of a labelled set; the closeness
of a face to its person is drawn from that set's distribution.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facecli.people.grouping import Faces
from facecli.types import FloatArray

LEAST = 8
"""Faces of a person from which the closeness of each is known well."""
STRANGERS = 0.25
"""The share of the faces whose person is seen once."""
SHAPE, LARGEST = 1.3, 0.02
"""People's sizes follow a power law; the largest has that share of all faces."""
FAMILY, RELATED = 4, 0.3
"""People of a family, and the share of the people who have one."""
LIKENESS = 0.4
"""The cosine of relatives: that of siblings who are hard to tell apart. Strangers have about 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """What was found of real faces."""

    people: tuple[FloatArray, FloatArray]
    """The mean direction, float32 (d,), and a root of the covariance, float32 (d, d)."""
    spread: FloatArray
    """A root of the covariance of the directions from a person to its faces, float32 (d, d)."""
    closeness: FloatArray
    """float32 (n,): cosines of faces and their people."""


def fit(vectors: FloatArray, truth: NDArray[np.int64]) -> Model:
    """Learn from faces, float32 (n, d), and their people, int64 (n,), -1 for unknown."""
    vectors, truth = vectors[truth >= 0], np.unique(truth[truth >= 0], return_inverse=True)[1]
    sizes = np.bincount(truth)
    sums = np.zeros((len(sizes), vectors.shape[1]), np.float32)
    np.add.at(sums, truth, vectors)
    means = _unit(sums)
    many = np.flatnonzero(sizes[truth] >= LEAST)
    whose = truth[many]
    cosines = (vectors[many] * _unit(sums[whose] - vectors[many])).sum(axis=1)
    others = sizes[whose] - 1
    alike = ((sums**2).sum(axis=1) - sizes)[whose] / (sizes[whose] * others)
    # The mean of n - 1 faces is itself off the person's direction.
    sure = np.sqrt(alike * others / (1 + (others - 1) * alike))
    closeness = np.clip(cosines / sure, 0.05, 0.99).astype(np.float32)
    away = _unit(vectors[many] - closeness[:, None] * means[whose])
    return Model((means.mean(axis=0), _root(np.cov(means.T))), _root(np.cov(away.T)), closeness)


def draw(model: Model, count: int, seed: int) -> tuple[Faces, NDArray[np.int64]]:
    """Draw `count` faces, in photos of one to ten; returns them and the person of each."""
    random = np.random.default_rng(seed)
    truth = np.repeat(*_sizes(random, count))
    people = _relatives(random, model, _directions(random, model, int(truth.max()) + 1))
    codes = np.empty((count, people.shape[1]), np.float16)
    for start in range(0, count, 20_000):
        mine = people[truth[start : start + 20_000]]
        away = random.standard_normal(mine.shape, np.float32) @ model.spread
        away = _unit(away - (away * mine).sum(axis=1, keepdims=True) * mine)
        close = random.choice(model.closeness, len(mine))[:, None]
        codes[start : start + 20_000] = close * mine + np.sqrt(1 - close**2) * away
    boxes = np.arange(count, dtype=np.float32)[:, None] + np.array([0, 0, 100, 100], np.float32)
    faces = Faces(np.arange(count), _photos(random, truth), boxes, np.full(count, 0.9, np.float32), codes)
    return faces, truth


def _sizes(random: np.random.Generator, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The people, and how many faces each has."""
    left, sizes = count - int(count * STRANGERS), []
    while left:
        sizes.append(min(int(2 * (1 - random.random()) ** (-1 / SHAPE)), int(LARGEST * count), left))
        left -= sizes[-1]
    sizes += [1] * int(count * STRANGERS)
    return np.arange(len(sizes)), np.array(sizes)


def _directions(random: np.random.Generator, model: Model, count: int) -> FloatArray:
    mean, root = model.people
    return _unit(random.standard_normal((count, len(mean)), np.float32) @ root + mean)


def _relatives(random: np.random.Generator, model: Model, people: FloatArray) -> FloatArray:
    """Give some people a part in common with their family."""
    number = np.arange(len(people)) // FAMILY
    related = number % 10 < RELATED * 10
    shared = _directions(random, model, int(number[-1]) + 1)[number]
    out = people.copy()
    out[related] = (1 - LIKENESS) ** 0.5 * people[related] + LIKENESS**0.5 * shared[related]
    return _unit(out)


def _photos(random: np.random.Generator, truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """The photo of each face; a second face of a person gets one of its own."""
    shuffled = random.permutation(len(truth))
    ends = np.cumsum(np.minimum(random.geometric(0.4, len(truth)), 10))
    photos = np.empty(len(truth), np.int64)
    photos[shuffled] = np.searchsorted(ends, np.arange(len(truth)), side="right")
    _, firsts = np.unique(np.stack([photos, truth]), axis=1, return_index=True)
    again = np.setdiff1d(np.arange(len(truth)), firsts)
    photos[again] = photos.max() + 1 + np.arange(len(again))
    return photos


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def _root(covariance: NDArray[np.float64]) -> FloatArray:
    """A matrix that turns independent numbers (n, d) into ones with this covariance."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))).T.astype(np.float32)
