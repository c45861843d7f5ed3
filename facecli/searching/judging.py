"""How sure each match is: by the size of the index, and by how near the next different person is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from facecli.config import By
from facecli.store.facestore import IndexReader
from facecli.thresholds import DIFFERENT_SIMILARITY, Calibration, judge
from facecli.types import FloatArray, Judgement, Match, SearchResult

NEIGHBOURS = 50
"""How many of the nearest faces are looked at for another person."""


def judge_results(reader: IndexReader, results: Sequence[SearchResult], calibration: Calibration) -> tuple[SearchResult, ...]:
    """The results with a judgement for each match."""
    queries = [face for result in results for face in {id(f): f for f in (result.references or (result.query,))}.values()]
    vectors = {id(face): face.embedding for face in queries}
    near = dict(zip(vectors, _neighbours(reader, list(vectors.values())), strict=True))
    return tuple(_judge_result(reader, result, near, calibration) for result in results)


def _neighbours(reader: IndexReader, vectors: Sequence[FloatArray]) -> list[list[Match]]:
    if not vectors:
        return []
    return reader.nearest(np.stack(vectors), top=NEIGHBOURS, minimum=None, by=By.FACE, leave_out=[None] * len(vectors))


def _judge_result(reader: IndexReader, result: SearchResult, near: dict[int, list[Match]], calibration: Calibration) -> SearchResult:
    judgements = []
    for number, match in enumerate(result.matches):
        query = result.references[number] if result.references else result.query
        margin = _margin(reader, match, [n for n in near[id(query)] if n.face_id != query.face_id])
        judgements.append(Judgement(judge(match.similarity, margin, calibration, reader.info.faces), margin))
    return replace(result, judgements=tuple(judgements))


def _margin(reader: IndexReader, match: Match, near: Sequence[Match]) -> float | None:
    """The similarity of a match less that of the nearest face of somebody else.

    Certainly somebody else's are another face of the same photo, and one that is hardly like the matched face.
    """
    others = [n for n in near if n.face_id != match.face_id]
    if not others:
        return None
    own = reader.face(match.face_id).embedding
    for other in others:
        if other.path == match.path or float(reader.face(other.face_id).embedding @ own) < DIFFERENT_SIMILARITY:
            return match.similarity - other.similarity
    return None
