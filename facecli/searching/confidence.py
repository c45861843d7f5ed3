"""How sure each match is: by the size of the index, and by how near the next different person is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from facecli.config import By
from facecli.store.reader import IndexReader
from facecli.thresholds import DIFFERENT_SIMILARITY, Calibration, judge
from facecli.types import FloatArray, Judgement, Match, SearchResult

NEIGHBOURS = 50
"""How many of the nearest faces are looked at for another person."""


def judge_results(
    reader: IndexReader, results: Sequence[SearchResult], calibration: Calibration
) -> tuple[SearchResult, ...]:
    """The results with a judgement for each match."""
    vectors = {id(face): face.embedding for result in results for face in (result.references or (result.query,))}
    near = dict(zip(vectors, _neighbours(reader, list(vectors.values())), strict=True))
    bench = _Bench(reader, calibration, near, {})
    return tuple(replace(result, judgements=tuple(bench.judge(result))) for result in results)


def _neighbours(reader: IndexReader, vectors: Sequence[FloatArray]) -> list[list[Match]]:
    if not vectors:
        return []
    return reader.nearest(np.stack(vectors), top=NEIGHBOURS, minimum=None, by=By.FACE)


class _Bench(Struct, frozen=True):
    """What the judgements of all results share."""

    reader: IndexReader
    calibration: Calibration
    near: dict[int, list[Match]]
    """For each query face, by its identity, the nearest faces of the index."""
    embeddings: dict[int, FloatArray]
    """Those that were read already, by face id."""

    def judge(self, result: SearchResult) -> Iterator[Judgement]:
        """A judgement for each match."""
        for number, match in enumerate(result.matches):
            query = result.references[number] if result.references else result.query
            margin = self._margin(
                match, [n for n in self.near[id(query)] if n.face_id not in (query.face_id, match.face_id)]
            )
            yield Judgement(judge(match.similarity, margin, self.calibration, self.reader.info.faces), margin)

    def _margin(self, match: Match, near: Sequence[Match]) -> float | None:
        """The similarity of a match less that of the nearest face of somebody else.

        Certainly somebody else's are another face of the same photo, and one that is hardly like the matched face.
        """
        for other in near:
            if (
                other.path == match.path
                or float(self._embedding(other) @ self._embedding(match)) < DIFFERENT_SIMILARITY
            ):
                return match.similarity - other.similarity
        return None

    def _embedding(self, match: Match) -> FloatArray:
        if match.face_id not in self.embeddings:
            self.embeddings[match.face_id] = self.reader.face(match.face_id).embedding
        return self.embeddings[match.face_id]
