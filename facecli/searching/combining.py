"""Combine query faces into blocks, each answered by one list of matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import assert_never

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from facecli.config import By, Combine
from facecli.searching.everyone import photos_of_everyone
from facecli.types import FloatArray, Match, QueryFace, SearchResult


class Block(Struct, frozen=True, eq=False):
    """One block of an answer: the query faces that are answered together."""

    query: QueryFace
    """The face that stands for the block."""
    faces: tuple[QueryFace, ...]
    """The faces searched for: with `any` all references, else only `query`."""
    left_out: tuple[int, ...]
    """Ids of query faces that are in the index, and so are not matches."""
    references: tuple[QueryFace, ...]
    """The given faces; with `mean` all faces that it is computed from."""


def combine_faces(faces: Sequence[QueryFace], how: Combine) -> list[Block]:
    """The blocks of an answer, in the order of the faces."""
    if not faces:
        return []
    left_out = tuple(sorted({face_id for f in faces for face_id in _left_out(f)}))
    match how:
        case Combine.SEPARATE:
            return [Block(f, (f,), _left_out(f), (f,)) for f in faces]
        case Combine.MEAN:
            mean = mean_face(faces)
            return [Block(mean, (mean,), left_out, tuple(faces))]
        case Combine.ANY | Combine.ALL:
            each = tuple(_different(faces) if how is Combine.ALL else faces)
            return [Block(replace(faces[0], query=_joined(faces)), each, left_out, each)]
        case _:
            assert_never(how)


def _left_out(face: QueryFace) -> tuple[int, ...]:
    """The face of a query that is no match for it; a person's cover is one."""
    return () if face.face_id is None or face.person_id is not None else (face.face_id,)


def _different(faces: Sequence[QueryFace]) -> Iterable[QueryFace]:
    """The faces without repeated ones: no photo shows a second face of who is named twice."""
    each: dict[bytes, QueryFace] = {}
    for face in faces:
        each.setdefault(face.embedding.tobytes(), face)
    return each.values()


def mean_face(faces: Sequence[QueryFace]) -> QueryFace:
    """The mean face of several faces of one person.

    Number and box are the first one's.
    """
    embedding = mean_of(np.stack([f.embedding for f in faces]))
    return replace(faces[0], query=_joined(faces), embedding=embedding, face_id=None, person_id=None)


def mean_of(embeddings: FloatArray) -> FloatArray:
    """The mean of unit vectors, float32 (n, d), normalised again: float32 (d,)."""
    mean: FloatArray = embeddings.mean(axis=0)
    length = max(float(np.linalg.norm(mean)), float(np.finfo(np.float32).tiny))
    return (mean / length).astype(np.float32)


def _joined(faces: Sequence[QueryFace]) -> str:
    return ",".join(dict.fromkeys(f.query for f in faces))


def merge_matches(block: Block, found: Sequence[Sequence[Match]], by: By) -> SearchResult:
    """Merge the answers to the faces of a block: the best of each photo or face, best first, ties by face id."""
    if len(found) == 1:
        # Already in order.
        return SearchResult(block.query, tuple(found[0]))
    best: dict[str | int, tuple[Match, QueryFace]] = {}
    for face, matches in zip(block.faces, found, strict=True):
        for match in matches:
            key = match.path if by is By.PHOTO else match.face_id
            if key not in best or _before(match) < _before(best[key][0]):
                best[key] = (match, face)
    chosen = sorted(best.values(), key=lambda pair: _before(pair[0]))
    matches = tuple(replace(match, rank=rank) for rank, (match, _) in enumerate(chosen, 1))
    return SearchResult(block.query, matches, tuple(face for _, face in chosen))


def match_everyone(block: Block, found: Sequence[Sequence[Match]], by: By) -> SearchResult:
    """The photos that show every query face, the one whose least similar face is most similar first.

    `found` holds all matches of each query face, by face. A row is the least similar of the faces, or with `by` face
    each of them.
    """
    chosen: list[tuple[Match, QueryFace]] = []
    for faces in photos_of_everyone(found):
        pairs = sorted(zip(faces, block.faces, strict=True), key=lambda pair: _before(pair[0]))
        chosen += pairs if by is By.FACE else pairs[-1:]
    matches = tuple(replace(match, rank=rank) for rank, (match, _) in enumerate(chosen, 1))
    return SearchResult(block.query, matches, tuple(face for _, face in chosen))


def _before(match: Match) -> tuple[float, int]:
    return -match.similarity, match.face_id
