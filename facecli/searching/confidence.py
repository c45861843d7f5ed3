"""Judge how certain each match is, from the size of the index and the similarity of the nearest other person."""

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
"""The number of nearest faces among which another person is searched for."""


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
    """The data shared by the judgements of all results."""

    reader: IndexReader
    calibration: Calibration
    near: dict[int, list[Match]]
    """The nearest faces in the index for each query face, by the id() of the face."""
    embeddings: dict[int, FloatArray]
    """Embeddings already read, by face id."""

    def judge(self, result: SearchResult) -> Iterator[Judgement]:
        """A judgement for each match."""
        for number, match in enumerate(result.matches):
            query = result.references[number] if result.references else result.query
            margin = self._margin(
                match, [n for n in self.near[id(query)] if n.face_id not in (query.face_id, match.face_id)]
            )
            yield Judgement(judge(match.similarity, margin, self.calibration, self.reader.info.faces), margin)

    def _margin(self, match: Match, near: Sequence[Match]) -> float | None:
        """The similarity of a match minus that of the nearest face of another person; None if there is none.

        Another face in the same photo is another person, and so is a face that is not similar to the matched face.
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
