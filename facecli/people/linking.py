"""Link faces to people: average linkage over the most similar pairs, in levels of falling similarity.

In each round every cluster names the other that it is most similar to, and those that named each other merge, in chains
of any length; where a chain would break a rule, only mutual choices merge, and those that may never be one are struck.
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.people.apart import Apart
from facecli.people.clusters import Clusters
from facecli.similarity.best import Pairs
from facecli.similarity.codes import RowNumbers
from facecli.types import FloatArray

_STEPS = (0.42, 0.32, 0.24, 0.18, 0.12, 0.08, 0.04, 0.01, 0.0)
"""The levels above the last."""


class Links(Struct, frozen=True, eq=False):
    """Pairs of clusters that have similar faces, each once."""

    low: RowNumbers
    high: RowNumbers
    means: FloatArray
    """float32 (p,): the mean cosine of all pairs of their faces; NaN until computed."""

    def where(self, chosen: RowNumbers | NDArray[np.bool_]) -> Links:
        """Some of the links, by a mask or by their numbers."""
        return Links(self.low[chosen], self.high[chosen], self.means[chosen])

    def after(self, into: RowNumbers, clusters: Clusters, apart: Apart) -> Links:
        """Merge clusters, see `Clusters.merge`; the links of the new ones, each once, NaN for those of merged ones."""
        merged = np.bincount(into) > 1
        clusters.merge(into)
        apart.merge(into)
        one, other = into[self.low], into[self.high]
        low, high = np.minimum(one, other), np.maximum(one, other)
        keys, firsts = np.unique(low * len(clusters) + high, return_index=True)
        low, high = np.divmod(keys, max(1, len(clusters)))
        means = np.where(merged[low] | merged[high], np.float32(np.nan), self.means[firsts])
        return Links(low, high, means).where(low != high)


def first_links(pairs: Pairs, clusters: Clusters) -> Links:
    """The links of single faces: pairs in one or both directions."""
    low, high = np.minimum(pairs.rows, pairs.others), np.maximum(pairs.rows, pairs.others)
    keys, firsts = np.unique(low * len(clusters) + high, return_index=True)
    low, high = np.divmod(keys, max(1, len(clusters)))
    return Links(low, high, pairs.similarities[firsts])


def link_faces(clusters: Clusters, apart: Apart, links: Links, limits: tuple[float, float]) -> None:
    """Merge clusters down to a mean similarity.

    `limits` are that of two large clusters, and how much more two single faces need; a single face and a large cluster
    need half of that.
    """
    least, penalty = limits
    for step in _STEPS:
        while True:
            links = _refresh(clusters, links, least)
            joined = _merge_once(clusters, apart, links, (least + step, penalty))
            if joined is None:
                break
            links = joined


def _refresh(clusters: Clusters, links: Links, least: float) -> Links:
    """Compute the means that are missing, and drop the links below `least`: no merge brings their like back."""
    missing = np.flatnonzero(np.isnan(links.means))
    links.means[missing] = clusters.mean_similarities(links.low[missing], links.high[missing])
    return links.where(links.means >= np.float32(least))


def _merge_once(clusters: Clusters, apart: Apart, links: Links, limits: tuple[float, float]) -> Links | None:
    """One round; the links after it, None where nothing is left to do at this level."""
    least, penalty = limits
    sizes = clusters.sizes.astype(np.float32)
    shares = (1 / sizes[links.low] + 1 / sizes[links.high]).astype(np.float32)
    rated = links.means - np.float32(penalty / 2) * shares
    near = np.flatnonzero(rated >= np.float32(least))
    if not len(near):
        return None
    choice = _choices(len(clusters), links.where(near), rated[near])
    into = _components(choice)
    broken = apart.broken(into)
    if broken.any():
        into, struck = _mutual_only(apart, choice, (into, broken))
        links = _without(links, struck, len(clusters))
    if int(into.max()) + 1 < len(clusters):
        links = links.after(into, clusters, apart)
    return links


def _choices(count: int, links: Links, rated: FloatArray) -> RowNumbers:
    """The best partner of each cluster, int64 (k,): by rating, then the lowest; itself where there is none."""
    source, target = np.concatenate([links.low, links.high]), np.concatenate([links.high, links.low])
    order = np.lexsort((target, -np.concatenate([rated, rated]), source))
    source, target = source[order], target[order]
    first = np.flatnonzero(np.r_[True, source[1:] != source[:-1]])
    out = np.arange(count)
    out[source[first]] = target[first]
    return out


def _components(choice: RowNumbers) -> RowNumbers:
    """Number the chains of choices, int64 (k,). Each ends in two that chose each other, or in one that chose itself."""
    numbers = np.arange(len(choice))
    root = np.where(choice[choice] == numbers, np.minimum(choice, numbers), choice)
    while (root[root] != root).any():
        root = root[root]
    return np.unique(root, return_inverse=True)[1]


def _mutual_only(
    apart: Apart, choice: RowNumbers, chains: tuple[RowNumbers, NDArray[np.bool_]]
) -> tuple[RowNumbers, RowNumbers]:
    """The numbers with broken chains divided into mutual choices, and which of those broke a rule themselves.

    Returns int64 (k,), and the lower clusters of struck pairs, int64 (p, 2).
    """
    into, broken = chains
    numbers = np.arange(len(choice))
    mutual = np.where(choice[choice] == numbers, np.minimum(choice, numbers), numbers)
    pairs = np.unique(np.where(broken[into], len(choice) + mutual, into), return_inverse=True)[1]
    worse = apart.broken(pairs)[pairs]
    struck = np.flatnonzero(worse & (mutual == numbers) & (choice != numbers))
    divided = np.where(worse, 2 * len(choice) + numbers, pairs)
    return np.unique(divided, return_inverse=True)[1], np.stack([struck, choice[struck]], axis=1)


def _without(links: Links, struck: RowNumbers, count: int) -> Links:
    """The links but for some pairs of clusters, int64 (p, 2), the lower first."""
    return links.where(~np.isin(links.low * count + links.high, struck[:, 0] * count + struck[:, 1]))
