"""What must never be in one person: two faces of one photo, two owners, a face and an owner that it was refused."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.similarity.codes import RowNumbers


class Marks(Struct, frozen=True, eq=False):
    """Numbers that clusters carry."""

    clusters: RowNumbers
    values: RowNumbers

    def moved(self, into: RowNumbers) -> Marks:
        """The marks, each once, after clusters are merged as in `Clusters.merge`."""
        pairs = np.unique(np.stack([into[self.clusters], self.values]), axis=1)
        return Marks(pairs[0], pairs[1])


class Held(Struct, frozen=True):
    """What a cluster carries."""

    contents: set[int]
    owners: set[int]
    refused: set[int]

    def fits(self, other: Held) -> bool:
        """Whether the two may be one."""
        return (
            self.contents.isdisjoint(other.contents)
            and len(self.owners | other.owners) <= 1
            and self.owners.isdisjoint(other.refused)
            and self.refused.isdisjoint(other.owners)
        )

    def take(self, other: Held) -> None:
        """Carry what the other carries, too."""
        self.contents.update(other.contents)
        self.owners.update(other.owners)
        self.refused.update(other.refused)


class Apart:
    """The rules, for clusters that merge."""

    def __init__(self, contents: Marks, owners: Marks, refused: Marks) -> None:
        self.contents, self.owners, self._refused = contents, owners, refused

    def copy(self) -> Apart:
        """The same rules, to be followed separately."""
        return Apart(self.contents, self.owners, self._refused)

    def broken(self, into: RowNumbers) -> NDArray[np.bool_]:
        """Which new clusters, bool (m,), would break a rule if clusters were merged as in `Clusters.merge`."""
        out = np.zeros(int(into.max(initial=-1)) + 1, bool)
        out[_repeated(into[self.contents.clusters], self.contents.values)] = True
        owned = self.owners.moved(into)
        out[_repeated(owned.clusters, np.zeros_like(owned.clusters))] = True
        refused = into[self._refused.clusters]
        out[_shared((refused, self._refused.values), (owned.clusters, owned.values))] = True
        return out

    def merge(self, into: RowNumbers) -> None:
        """Follow `Clusters.merge`."""
        self.contents, self.owners, self._refused = (
            marks.moved(into) for marks in (self.contents, self.owners, self._refused)
        )

    def held(self, clusters: RowNumbers) -> dict[int, Held]:
        """What each of some clusters carries."""
        out = {cluster: Held(set(), set(), set()) for cluster in clusters.tolist()}
        wanted = np.unique(clusters)
        for marks, name in ((self.contents, "contents"), (self.owners, "owners"), (self._refused, "refused")):
            some = np.isin(marks.clusters, wanted)
            for cluster, value in zip(marks.clusters[some].tolist(), marks.values[some].tolist(), strict=True):
                getattr(out[cluster], name).add(value)
        return out


def _repeated(clusters: RowNumbers, values: RowNumbers) -> RowNumbers:
    """The clusters that have a value more than once."""
    order = np.lexsort((values, clusters))
    clusters, values = clusters[order], values[order]
    again = (clusters[1:] == clusters[:-1]) & (values[1:] == values[:-1])
    out: RowNumbers = clusters[1:][again]
    return out


def _shared(one: tuple[RowNumbers, RowNumbers], other: tuple[RowNumbers, RowNumbers]) -> RowNumbers:
    """The clusters that have a value in both lists of clusters and values."""
    pairs = np.concatenate([np.unique(np.stack(side), axis=1) for side in (one, other)], axis=1)
    return _repeated(pairs[0], pairs[1])
