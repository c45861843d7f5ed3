"""The sums of clusters give the mean similarities that all pairs of their faces give."""

from __future__ import annotations

import numpy as np
import pytest
from made_up_faces import directions

from facecli.people import clusters
from facecli.people.clusters import Clusters


@pytest.mark.parametrize("chunk", [1, 3, clusters.CHUNK])
def test_means_are_those_of_all_pairs(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "CHUNK", chunk)
    codes = directions(14, 5).astype(np.float16)
    made = Clusters(codes)
    made.merge(np.array([0, 1, 1, 2, 3, 3, 3, 4, 5, 5, 0, 6, 6, 7]))
    made.merge(np.array([1, 0, 2, 3, 0, 0, 4, 5]))
    assert made.labels.tolist() == [1, 0, 0, 2, 3, 3, 3, 0, 0, 0, 1, 4, 4, 5]
    assert made.sizes.tolist() == [5, 2, 1, 3, 2, 1]
    wide = codes.astype(np.float64)
    cosines = wide @ wide.T
    faces = [np.flatnonzero(made.labels == number) for number in range(6)]
    low, high = np.triu_indices(6, 1)
    means = [cosines[np.ix_(faces[a], faces[b])].mean() for a, b in zip(low, high, strict=True)]
    np.testing.assert_allclose(made.mean_similarities(low, high), means, atol=1e-6)
    within = [cosines[np.ix_(some, some)][np.triu_indices(len(some), 1)] for some in faces]
    np.testing.assert_allclose(made.cohesion(), [pairs.mean() if len(pairs) else 1 for pairs in within], atol=1e-4)
