"""After linking: merge people whose centroids are close, attach single faces, and suggest who may be one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facecli.people.apart import Apart
from facecli.people.clusters import Clusters
from facecli.reporting import SilentReporter
from facecli.similarity.best import Pairs, joined
from facecli.similarity.codes import HalfArray, RowNumbers
from facecli.similarity.nearest import Stored, nearest
from facecli.similarity.neighbours import Known, Neighbourhood, find_neighbours

_PARTNERS = 16
"""How many close people are looked at for each."""


def close_people(clusters: Clusters, people: RowNumbers, least: float) -> Pairs:
    """The pairs of some clusters whose centroids have a cosine of at least `least`, each once, the lower first.

    By falling similarity, then by number.
    """
    centroids = _as_codes(clusters, people)
    space = Neighbourhood(centroids, np.arange(len(people)), _PARTNERS, least)
    pairs = find_neighbours(space, Known(np.arange(len(people)), joined([])), SilentReporter())
    low, high = np.minimum(pairs.rows, pairs.others), np.maximum(pairs.rows, pairs.others)
    _, firsts = np.unique(low * max(1, len(people)) + high, return_index=True)
    found = Pairs(people[low[firsts]], people[high[firsts]], pairs.similarities[firsts])
    return found.where(np.lexsort((found.others, found.rows, -found.similarities)))


def merge_pairs(clusters: Clusters, apart: Apart, pairs: Pairs) -> NDArray[np.bool_]:
    """Merge pairs of clusters in their order, where no rule is broken; returns which were merged, bool (p,)."""
    held = apart.held(np.concatenate([pairs.rows, pairs.others]))
    roots = np.arange(len(clusters))
    merged = np.zeros(len(pairs.rows), bool)
    for number, (one, other) in enumerate(zip(pairs.rows.tolist(), pairs.others.tolist(), strict=True)):
        low, high = sorted((_root(roots, one), _root(roots, other)))
        if low != high and held[low].fits(held[high]):
            held[low].take(held[high])
            roots[high] = low
            merged[number] = True
    while (roots[roots] != roots).any():
        roots = roots[roots]
    into = np.unique(roots, return_inverse=True)[1]
    clusters.merge(into)
    apart.merge(into)
    return merged


def _root(roots: RowNumbers, cluster: int) -> int:
    while roots[cluster] != cluster:
        cluster = int(roots[cluster])
    return cluster


def near_singles(clusters: Clusters, alone: RowNumbers, least: float, margin: float) -> Pairs:
    """The single faces that are close to one person, each with that one, by falling similarity.

    `alone` are clusters of one face, int64 (m,); `least` is the least cosine to the person's centroid, `margin` how
    much less similar the next person's must be.
    """
    people = np.flatnonzero(clusters.sizes > 1)
    codes = _as_codes(clusters, people)
    stored = Stored(len(people), lambda first, count: codes[first : first + count])
    best, similarities = nearest(clusters.centroids(alone), stored, 2, least - margin)
    clear = (similarities[:, 0] >= least) & (similarities[:, 1] <= similarities[:, 0] - np.float32(margin))
    found = Pairs(alone[clear], people[best[clear, 0]], similarities[clear, 0])
    return found.where(np.lexsort((found.rows, -found.similarities)))


def _as_codes(clusters: Clusters, people: RowNumbers) -> HalfArray:
    return clusters.centroids(people).astype(np.float16)
