"""Clusters of faces: which are in which, and the sums of their embeddings, from which all mean similarities follow.

The mean cosine of all pairs of faces of two clusters is the product of the two sums, divided by both sizes.
"""

from __future__ import annotations

import numpy as np

from facecli.similarity.codes import HalfArray, RowNumbers, to_float32
from facecli.types import FloatArray

CHUNK = 8192
"""Sums that are looked at together."""


class Clusters:
    """A division of faces into clusters; at first each is one of its own."""

    def __init__(self, codes: HalfArray) -> None:
        self._codes = codes
        self.labels: RowNumbers = np.arange(len(codes), dtype=np.int64)
        """int64 (n,): the cluster of each face, 0 to k - 1."""
        self.sizes: RowNumbers = np.ones(len(codes), np.int64)
        """int64 (k,)."""
        self._places = -1 - self.labels
        """int64 (k,): the row in `_sums`, or for a face alone -1 minus its number: most are, so this saves memory."""
        self._sums = np.zeros((0, codes.shape[1]), np.float32)

    def __len__(self) -> int:
        return len(self.sizes)

    def sums(self, clusters: RowNumbers) -> FloatArray:
        """The sums of the embeddings of some clusters, float32 (m, d)."""
        places = self._places[clusters]
        out = np.empty((len(places), self._codes.shape[1]), np.float32)
        alone = places < 0
        if alone.any():
            singles = self._codes[-1 - places[alone]]
            out[alone] = to_float32(singles, np.empty(singles.shape, np.float32))
        out[~alone] = self._sums[places[~alone]]
        return out

    def centroids(self, clusters: RowNumbers) -> FloatArray:
        """The directions of the sums, float32 (m, d) of unit length."""
        out = self.sums(clusters)
        out /= np.maximum(np.linalg.norm(out, axis=1, keepdims=True), np.float32(1e-6))
        return out

    def mean_similarities(self, one: RowNumbers, other: RowNumbers) -> FloatArray:
        """The mean cosines of all pairs of faces between pairs of clusters, float32 (p,)."""
        out = np.empty(len(one), np.float32)
        for start in range(0, len(one), CHUNK):
            part = slice(start, start + CHUNK)
            np.einsum("nd,nd->n", self.sums(one[part]), self.sums(other[part]), out=out[part])
        out /= self.sizes[one] * self.sizes[other]
        return out

    def cohesion(self) -> FloatArray:
        """The mean cosine of the pairs of faces within each cluster, float32 (k,); 1 for a face alone."""
        out = np.ones(len(self), np.float32)
        several = np.flatnonzero(self.sizes > 1)
        for start in range(0, len(several), CHUNK):
            part = several[start : start + CHUNK]
            sums, sizes = self.sums(part), self.sizes[part].astype(np.float32)
            out[part] = (np.einsum("nd,nd->n", sums, sums) - sizes) / (sizes * (sizes - 1))
        return out

    def merge(self, into: RowNumbers) -> None:
        """Merge clusters: `into`, int64 (k,), has the new number of each, 0 to the number of new ones - 1."""
        count = int(into.max(initial=-1)) + 1
        merged = np.bincount(into, minlength=count) > 1
        old = np.flatnonzero(merged[into])
        old = old[np.argsort(into[old], kind="stable")]
        kept = np.flatnonzero(~merged[into])
        places = np.empty(count, np.int64)
        held = kept[self._places[kept] >= 0]
        places[into[kept]] = self._places[kept]
        places[into[held]] = np.arange(len(held))
        places[merged] = len(held) + np.arange(int(merged.sum()))
        sums = np.empty((len(held) + int(merged.sum()), self._codes.shape[1]), np.float32)
        sums[: len(held)] = self._sums[self._places[held]]
        self._add_up(old, into[old], sums[len(held) :])
        self.sizes = np.bincount(into, self.sizes, minlength=count).astype(np.int64)
        self.labels, self._places, self._sums = into[self.labels], places, sums

    def _add_up(self, old: RowNumbers, new: RowNumbers, out: FloatArray) -> None:
        """Add the sums of old clusters, sorted by the new one of each, into `out`, float32 (m, d): a row a new one."""
        starts = np.flatnonzero(np.r_[True, new[1:] != new[:-1]]) if len(new) else np.zeros(0, np.int64)
        ends = np.r_[starts[1:], len(new)]
        row = 0
        while row < len(starts):
            last = max(row + 1, int(np.searchsorted(ends, starts[row] + CHUNK, side="right")))
            part = old[starts[row] : ends[last - 1]]
            np.add.reduceat(self.sums(part), starts[row:last] - starts[row], axis=0, out=out[row:last])
            row = last
