"""Say what came of grouping: people by falling size, with centroids, covers and suggestions."""

from __future__ import annotations

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.people.apart import Marks
from facecli.people.clusters import Clusters
from facecli.people.grouping import NOBODY, Faces, People, Suggestion, Why
from facecli.people.selecting import Chosen
from facecli.similarity.best import Pairs
from facecli.similarity.codes import RowNumbers, in_float32, pair_similarities
from facecli.types import FloatArray

_LARGE_SIDE = 112
"""Pixels of the shorter side beyond which a larger face makes no better cover."""
_SIDE_WEIGHT = 0.2


class Division(Struct, frozen=True, eq=False):
    """What the steps of grouping came to."""

    clusters: Clusters
    why: NDArray[np.uint8]
    """uint8 (m,), for the faces that take part."""
    owners: Marks
    """The owners of rows, of faces that take part or not."""
    suggested: Pairs
    """Pairs of clusters."""


def describe(faces: Faces, chosen: Chosen, division: Division) -> People:
    """The people, and what is to be known about each face and each of them."""
    groups, owners = _groups(chosen, division)
    order = _by_size(groups, faces.face_ids, len(owners))
    numbers = np.full(len(owners), NOBODY)
    numbers[order] = np.arange(len(order))
    person = np.append(numbers, NOBODY)[groups]  # NOBODY, -1, takes the last one, also where there is no group
    centroids, cohesion = _middles(faces, (person, len(order)), (order, division.clusters))
    similarity = np.full(len(person), np.nan, np.float32)
    rows = np.flatnonzero(person >= 0)
    similarity[rows] = pair_similarities((faces.codes, rows), (centroids, person[rows])).clip(-1, 1)
    return People(
        person,
        _reasons(chosen, division, person),
        similarity,
        owners[order],
        cohesion,
        _covers(faces, person, similarity),
        _suggestions(numbers, division.suggested),
    )


def _groups(chosen: Chosen, division: Division) -> tuple[RowNumbers, RowNumbers]:
    """The group of each face, int64 (n,), NOBODY for a face alone, and the owner of each group, int64 (g,).

    The first groups are the clusters; then come those of owners none of whose faces takes part.
    """
    clusters, marks = division.clusters, division.owners
    places = chosen.places
    groups = np.where(places >= 0, clusters.labels[places], NOBODY) if len(clusters) else np.full(len(places), NOBODY)
    owners = np.full(len(clusters), NOBODY)
    taking = groups[marks.clusters] >= 0
    owners[groups[marks.clusters[taking]]] = marks.values[taking]
    absent = np.setdiff1d(marks.values, owners)
    owners = np.concatenate([owners, absent])
    group_of = {int(owner): number for number, owner in enumerate(owners.tolist()) if owner >= 0}
    for row, owner in zip(marks.clusters[~taking].tolist(), marks.values[~taking].tolist(), strict=True):
        groups[chosen.first == row] = group_of[owner]
    alone = np.flatnonzero((np.append(clusters.sizes, np.zeros(len(absent))) == 1) & (owners < 0))
    groups[np.isin(groups, alone)] = NOBODY
    return groups, owners


def _by_size(groups: RowNumbers, face_ids: RowNumbers, count: int) -> RowNumbers:
    """The groups with faces, by falling number of faces, then by their lowest face id."""
    member = groups >= 0
    sizes = np.bincount(groups[member], minlength=count)
    lowest = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(lowest, groups[member], face_ids[member])
    order = np.lexsort((lowest, -sizes))
    return order[sizes[order] > 0]


def _middles(
    faces: Faces, people: tuple[RowNumbers, int], source: tuple[RowNumbers, Clusters]
) -> tuple[FloatArray, FloatArray]:
    """The centroid of each person, float32 (p, d), and their cohesion, float32 (p,)."""
    person, count = people
    groups, clusters = source
    known = groups < len(clusters)
    centroids = np.zeros((count, faces.codes.shape[1]), np.float32)
    cohesion = np.ones(count, np.float32)
    centroids[known] = clusters.centroids(groups[known])
    cohesion[known] = clusters.cohesion()[groups[known]]
    for number in np.flatnonzero(~known).tolist():
        total = in_float32(faces.codes[person == number]).sum(axis=0)
        centroids[number] = total / max(float(np.linalg.norm(total)), 1e-6)
    return centroids, cohesion


def _reasons(chosen: Chosen, division: Division, person: RowNumbers) -> NDArray[np.uint8]:
    places = chosen.places
    why = np.full(len(person), Why.NOTHING, np.uint8)
    taking = places >= 0
    why[taking] = division.why[places[taking]]
    why[np.isin(chosen.first, division.owners.clusters)] = Why.USER
    why[person < 0] = Why.NOTHING
    return why


def _covers(faces: Faces, person: RowNumbers, similarity: FloatArray) -> RowNumbers:
    """The id of the face of each person that is most similar to the centroid, and large."""
    sides = np.minimum(faces.boxes[:, 2] - faces.boxes[:, 0], faces.boxes[:, 3] - faces.boxes[:, 1])
    worth = similarity + np.float32(_SIDE_WEIGHT) * np.clip(sides / _LARGE_SIDE, 0, 1)
    rows = np.flatnonzero(person >= 0)
    rows = rows[np.lexsort((faces.face_ids[rows], -worth[rows], person[rows]))]
    first = np.r_[True, person[rows][1:] != person[rows][:-1]][: len(rows)]
    covers: RowNumbers = faces.face_ids[rows[first]]
    return covers


def _suggestions(numbers: RowNumbers, suggested: Pairs) -> tuple[Suggestion, ...]:
    one, other = numbers[suggested.rows], numbers[suggested.others]
    pairs = zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True)
    return tuple(Suggestion(*pair, value) for pair, value in zip(pairs, suggested.similarities.tolist(), strict=True))
