"""Unite what belongs to one owner.

Faces are linked without regard to owners, who only keep people apart: faces that were put together by hand may look
different, and their mean would be like neither.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facecli.people.apart import Apart
from facecli.similarity.codes import RowNumbers


def follow_owners(labels: RowNumbers, rules: Apart) -> RowNumbers:
    """Clusters of faces, int64 (n,), numbered from 0, in which the faces of each owner are in one.

    Their clusters come along as a whole; where that would put two faces of one photo together, the owner's faces alone
    do. A face that was not decided on gives way to one of its photo that was. `rules` are those of single faces.
    """
    out = labels.copy()
    faces, owners = rules.owners.clusters, rules.owners.values
    for owner in np.unique(owners).tolist():
        decided = np.zeros(len(out), bool)
        decided[faces[owners == owner]] = True
        _unite(out, decided, rules)
    return np.unique(out, return_inverse=True)[1]


def _unite(labels: RowNumbers, decided: NDArray[np.bool_], rules: Apart) -> None:
    """Put the faces decided on, bool (n,), into the cluster that has most of them, of several the largest."""
    parts, counts = np.unique(labels[decided], return_counts=True)
    order = np.lexsort((parts, -np.bincount(labels)[parts], -counts))
    first, *others = parts[order].tolist()
    for part in others:
        members = labels == part
        labels[members & decided if _clash(labels == first, members, decided, rules) else members] = first
    crowded = _same_photo(labels == first, decided, rules)
    labels[crowded] = labels.max() + 1 + np.arange(len(crowded))


def _clash(one: NDArray[np.bool_], other: NDArray[np.bool_], decided: NDArray[np.bool_], rules: Apart) -> bool:
    """Whether two clusters, bool (n,) each, have faces of one photo, not both of which were decided on."""
    faces, contents = rules.contents.clusters, rules.contents.values
    free = ~decided[faces]
    ours, theirs = one[faces], other[faces]
    return bool(
        np.intersect1d(contents[ours & free], contents[theirs]).size
        or np.intersect1d(contents[ours], contents[theirs & free]).size
    )


def _same_photo(members: NDArray[np.bool_], decided: NDArray[np.bool_], rules: Apart) -> RowNumbers:
    """The members not decided on that share a photo with one that was, int64 (m,)."""
    faces, contents = rules.contents.clusters, rules.contents.values
    there = members[faces]
    sure = contents[there & decided[faces]]
    out: RowNumbers = faces[there & ~decided[faces] & np.isin(contents, sure)]
    return out
