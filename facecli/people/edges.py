"""The edges between similar faces: those of an earlier call are kept where they still hold, the rest is found."""

from __future__ import annotations

import numpy as np

from facecli.people.grouping import Edges, Faces
from facecli.people.selecting import Chosen
from facecli.reporting import Reporter
from facecli.similarity.best import Pairs, joined
from facecli.similarity.codes import RowNumbers
from facecli.similarity.neighbours import Known, Neighbourhood, find_neighbours

NEIGHBOURS = 32
"""Edges of a face: with 8, recall on hard photos is a hundredth less, with 64 a thousandth more."""


def find_edges(faces: Faces, chosen: Chosen, least: float, kept: Edges | None, report: Reporter) -> tuple[Pairs, Edges]:
    """The neighbours of the chosen faces by their places, and the same as edges to keep."""
    space = Neighbourhood(faces.codes[chosen.rows], faces.contents[chosen.rows], NEIGHBOURS, least)
    pairs = find_neighbours(space, _known(faces, chosen, least, kept), report)
    return pairs, _as_edges(faces.face_ids[chosen.rows], chosen, least, pairs)


def _known(faces: Faces, chosen: Chosen, least: float, kept: Edges | None) -> Known:
    """Which faces to search for, and the edges among the others."""
    total = len(chosen.rows)
    everything = Known(np.arange(total), joined([]))
    if kept is None or kept.least != least or not is_sound(kept):
        return everything
    places = _places_now(kept, faces.face_ids[chosen.rows], chosen)
    counts = np.diff(kept.starts)
    rows = np.repeat(places, counts)
    others = places[kept.others]
    lost = np.bincount(np.repeat(np.arange(len(places)), counts)[others < 0], minlength=len(places)) > 0
    # A full list that lost an edge lacks the next best; any other list has all that there are.
    places[(counts >= NEIGHBOURS) & lost] = -1
    fresh = np.ones(total, bool)
    fresh[places[places >= 0]] = False
    holds = (rows >= 0) & (others >= 0)
    holds[holds] = ~(fresh[rows[holds]] | fresh[others[holds]])
    pairs = Pairs(rows[holds], others[holds], kept.similarities[holds])
    return Known(np.flatnonzero(fresh), pairs)


def _places_now(kept: Edges, face_ids: RowNumbers, chosen: Chosen) -> RowNumbers:
    """The place of each kept face among the chosen, int64 (n,); -1 for those that are gone or changed."""
    order = np.argsort(face_ids)
    at = np.searchsorted(face_ids, kept.face_ids, sorter=order).clip(max=max(0, len(face_ids) - 1))
    if not len(face_ids):
        return np.full(len(kept.face_ids), -1, np.int64)
    places = order[at]
    same = (face_ids[places] == kept.face_ids) & (chosen.digests[places] == kept.digests)
    return np.where(same, places, -1)


def _as_edges(face_ids: RowNumbers, chosen: Chosen, least: float, pairs: Pairs) -> Edges:
    order = np.argsort(face_ids)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    by_row = np.argsort(rank[pairs.rows], kind="stable")
    rows = rank[pairs.rows][by_row]
    starts = np.searchsorted(rows, np.arange(len(order) + 1))
    others = rank[pairs.others][by_row].astype(np.int32)
    return Edges(face_ids[order], chosen.digests[order], least, starts, others, pairs.similarities[by_row])


def is_sound(edges: Edges) -> bool:
    """Whether edges that were read from a file can be used without harm."""
    count, total = len(edges.face_ids), len(edges.others)
    return (
        len(edges.digests) == count
        and len(edges.starts) == count + 1
        and len(edges.similarities) == total
        and bool((np.diff(edges.face_ids) > 0).all())
        and edges.starts[0] == 0
        and edges.starts[-1] == total
        and bool(((np.diff(edges.starts) >= 0) & (np.diff(edges.starts) <= NEIGHBOURS)).all())
        and bool(((edges.others >= 0) & (edges.others < count)).all())
        and bool(((edges.similarities >= edges.least) & (edges.similarities <= 1.1)).all())
    )
