"""Scores of a grouping against the truth: BCubed (Bagga and Baldwin 1998), pairs, and how pure the largest are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LARGEST = 50


@dataclass(frozen=True, slots=True)
class Scores:
    """Shares from 0 to 1, over the faces whose person is known."""

    precision: float
    """BCubed: of the faces in a face's group, how many are of its person; the mean over all faces."""
    recall: float
    """BCubed: of the faces of a face's person, how many are in its group."""
    pair_precision: float
    pair_recall: float
    largest: float
    """The share of the largest groups' faces that are of the group's main person."""
    groups: int
    """With two known faces or more."""
    people: int
    """With two faces or more, in truth."""
    alone: float
    """Of the faces whose person has others, how many are in no group."""


def score(groups: NDArray[np.int64], truth: NDArray[np.int64]) -> Scores:
    """Compare the group of each face, int64 (n,), -1 for none, with its person, int64 (n,), -1 for unknown."""
    alone = groups < 0
    groups = np.where(alone, groups.max(initial=0) + 1 + np.arange(len(groups)), groups)
    known = truth >= 0
    group, person = (np.unique(part[known], return_inverse=True)[1] for part in (groups, truth))
    group_sizes, person_sizes = np.bincount(group), np.bincount(person)
    cells, counts = np.unique(np.stack([group, person]), axis=1, return_counts=True)
    main = np.zeros(len(group_sizes), np.int64)
    np.maximum.at(main, cells[0], counts)
    largest = np.argsort(-group_sizes, kind="stable")[:LARGEST]
    both = _pairs(counts)
    return Scores(
        float((counts**2 / group_sizes[cells[0]]).sum() / len(group)),
        float((counts**2 / person_sizes[cells[1]]).sum() / len(group)),
        both / max(1.0, _pairs(group_sizes)),
        both / max(1.0, _pairs(person_sizes)),
        float(main[largest].sum() / group_sizes[largest].sum()),
        int((group_sizes > 1).sum()),
        int((person_sizes > 1).sum()),
        float(alone[known][person_sizes[person] > 1].mean()),
    )


def _pairs(sizes: NDArray[np.int64]) -> float:
    return float((sizes * (sizes - 1) // 2).sum())
