"""Group faces: choose, link, merge, attach, and say what came of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facecli.people.apart import Apart, Marks
from facecli.people.clusters import Clusters
from facecli.people.describing import Division, describe
from facecli.people.edges import find_edges
from facecli.people.following import follow_owners
from facecli.people.grouping import Decisions, Edges, Faces, Grouped, Limits, Why
from facecli.people.linking import first_links, link_faces
from facecli.people.merging import close_people, merge_pairs, near_singles
from facecli.people.selecting import Chosen, select_faces
from facecli.reporting import Reporter
from facecli.similarity.codes import RowNumbers


def group(faces: Faces, decisions: Decisions, limits: Limits, edges: Edges | None, report: Reporter) -> Grouped:
    """Sort the faces into people.

    `edges` are those that an earlier call returned, for any faces: those that still hold are kept, so that M new faces
    among N cost M·N. They never change the answer.
    """
    chosen = select_faces(faces)
    pairs, kept = find_edges(faces, chosen, limits.link, edges, report)
    owners = _by_row(faces, chosen, decisions.owners)
    clusters = Clusters(faces.codes[chosen.rows])
    rules = _rules(faces, chosen, owners, _by_row(faces, chosen, decisions.refused))
    apart = rules.copy()
    link_faces(clusters, apart, first_links(pairs, clusters), (limits.link, limits.small))
    if len(owners.values):
        labels = follow_owners(clusters.labels, rules)
        clusters, apart = Clusters(faces.codes[chosen.rows]), rules
        clusters.merge(labels)
        apart.merge(labels)
    why = _merge_and_attach(clusters, apart, limits)
    suggested = close_people(clusters, np.flatnonzero(clusters.sizes > 1), limits.suggest)
    held = apart.held(np.concatenate([suggested.rows, suggested.others]))
    fit = [held[a].fits(held[b]) for a, b in zip(suggested.rows.tolist(), suggested.others.tolist(), strict=True)]
    division = Division(clusters, why, owners, suggested.where(np.array(fit, bool)))
    return Grouped(describe(faces, chosen, division), kept)


def _by_row(faces: Faces, chosen: Chosen, decided: Sequence[tuple[int, int]]) -> Marks:
    """Decisions on faces that are there, by the row that stands for each face."""
    pairs = np.array(decided, np.int64).reshape(-1, 2)
    order = np.argsort(faces.face_ids)
    at = np.searchsorted(faces.face_ids, pairs[:, 0], sorter=order)
    there = at < len(order)
    there[there] = faces.face_ids[order[at[there]]] == pairs[there, 0]
    return Marks(chosen.first[order[at[there]]], pairs[there, 1])


def _rules(faces: Faces, chosen: Chosen, owners: Marks, refused: Marks) -> Apart:
    contents = faces.contents[chosen.rows]
    _, inverse, counts = np.unique(contents, return_inverse=True, return_counts=True)
    several = np.flatnonzero(counts[inverse] > 1)
    return Apart(Marks(several, contents[several]), _taking_part(chosen, owners), _taking_part(chosen, refused))


def _taking_part(chosen: Chosen, marks: Marks) -> Marks:
    places = chosen.places[marks.clusters]
    return Marks(places[places >= 0], marks.values[places >= 0])


def _merge_and_attach(clusters: Clusters, apart: Apart, limits: Limits) -> NDArray[np.uint8]:
    """The last two steps, until neither changes anything; returns uint8 (n,), a `Why` for each face that takes part.

    Each makes the other's centroids better: a person that grew is closer to its own photos.
    """
    linked, sizes = clusters.labels, clusters.sizes
    attached = np.zeros(len(linked), bool)
    before = len(clusters) + 1
    while len(clusters) < before:
        before = len(clusters)
        people = np.flatnonzero(clusters.sizes > 1)
        merge_pairs(clusters, apart, close_people(clusters, people, limits.merge))
        if len(clusters) < before:
            continue
        alone = clusters.sizes == 1
        singles = alone[clusters.labels]
        merge_pairs(clusters, apart, near_singles(clusters, np.flatnonzero(alone), limits.attach, limits.margin))
        attached |= singles & (clusters.sizes[clusters.labels] > 1)
    why = np.full(len(linked), Why.LINKS, np.uint8)
    why[linked != _largest(linked, clusters.labels, sizes)[clusters.labels]] = Why.CENTROIDS
    why[attached] = Why.ATTACHED
    return why


def _largest(parts: RowNumbers, wholes: RowNumbers, sizes: RowNumbers) -> RowNumbers:
    """The largest part of each whole, by the numbers of both for each face; of equal ones the first."""
    order = np.lexsort((parts, -sizes[parts], wholes))
    first = np.flatnonzero(np.r_[True, wholes[order][1:] != wholes[order][:-1]][: len(order)])
    return parts[order[first]]
