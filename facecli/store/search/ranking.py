"""The exact nearest faces to each query: scan all codes with numpy or FAISS, then re-score the best in float64.

The two scans sum in a different order, so their results differ in the last bits. They only select candidates: the
similarities that are shown, sorted and compared with the threshold are computed again in float64, so the answer does
not depend on the scan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from msgspec import Struct

from facecli.config import By
from facecli.similarity.codes import widen
from facecli.store.records import EVERYTHING, Labels, Scope
from facecli.store.vector_file import Codes
from facecli.types import FloatArray

FIRST_CANDIDATES = 64
SLACK = 1e-4
"""More than twice the largest difference between the scans' sums."""
_BLOCK_ROWS = 256
_QUERY_BYTES = 64 << 20
PORTION = 4096
"""The number of queries that are answered together."""


class Wanted(Struct, frozen=True):
    """The parameters of a search."""

    top: int
    """The number of rows of an answer; 0 for all."""
    minimum: float | None
    by: By
    scope: Scope = EVERYTHING


class Identified(Struct, frozen=True):
    """The faces that the labels of a scan stand for: ids int64 (n,) and codes float16 (n, d)."""

    face_ids: Labels
    photo_ids: Labels
    codes: Codes


class Hit(Struct, frozen=True):
    """A face and its similarity (cosine)."""

    face_id: int
    similarity: float


Found: TypeAlias = tuple[Labels, FloatArray]
"""What a scan finds for a query, by falling similarity: labels int64 (k,), approximate similarities float32 (k,)."""


class VectorScan(Protocol):
    """A scan over the codes in the vector file or the catalogue."""

    total: int
    used_first_pass: bool
    """Whether any answer so far came of short codes, so that its recall is only measured."""

    def best(self, queries: FloatArray, count: int, wanted: Wanted) -> list[Found]:
        """The `count` most similar codes to each query, float32 (q, d), or any other number of them if those are all.

        Codes whose similarity is below the minimum of `wanted` may be left out, those beyond its slots are. Memory does
        not grow with the number of codes.
        """

    def identify(self, labels: Labels) -> Identified:
        """The faces of labels, int64 (n,); the face id is -1 where a label has none."""


def find_nearest(scan: VectorScan, queries: FloatArray, wanted: Wanted) -> list[list[Hit]]:
    """The answer to each query, by falling similarity, then by face id; `queries` is float32 (q, d) of unit length."""
    answers: list[list[Hit]] = []
    for start in range(0, len(queries), PORTION):
        leave_out = wanted.scope.leave_out[start : start + PORTION]
        answers += _answer_block(scan, queries[start : start + PORTION], wanted, leave_out)
    return answers


def _answer_block(
    scan: VectorScan, queries: FloatArray, wanted: Wanted, leave_out: Sequence[Labels]
) -> list[list[Hit]]:
    """Request some candidates, and eight times as many for queries where they may not be enough."""
    answers: list[list[Hit]] = [[] for _ in queries]
    open_queries = list(range(len(queries))) if scan.total else []
    left_out = leave_out or [np.zeros(0, np.int64)] * len(queries)
    count = _first_count(wanted, scan.total, max(map(len, left_out)))
    while open_queries:
        unsure = []
        for number, (labels, rough) in zip(open_queries, scan.best(queries[open_queries], count, wanted), strict=True):
            floor = float(rough[-1]) + SLACK if 0 < len(rough) == count < scan.total else -np.inf
            answers[number], enough = _rank(scan.identify(labels), queries[number], wanted, (left_out[number], floor))
            if not enough:
                unsure.append(number)
        open_queries, count = unsure, min(8 * count, scan.total)
    return answers


def _first_count(wanted: Wanted, total: int, left_out: int) -> int:
    if wanted.top == 0 and wanted.minimum is None:
        return total
    return min(total, max(FIRST_CANDIDATES, 4 * wanted.top) + left_out)


def _rank(found: Identified, query: FloatArray, wanted: Wanted, limits: tuple[Labels, float]) -> tuple[list[Hit], bool]:
    """The best candidates, and whether it is certain that no other face belongs among them.

    `limits` holds the faces to leave out, and the similarity below which there may be faces that were not fetched.
    Faces are left out before grouping by photo, so another face of the same photo can represent it.
    """
    left_out, floor = limits
    similarities = rescore(found.codes, query)
    known = (found.face_ids >= 0) & ~np.isin(found.face_ids, left_out) & found.codes.any(axis=1)
    order = np.lexsort((found.face_ids, -similarities))
    order = order[known[order]]
    if wanted.by is By.PHOTO:
        _, firsts = np.unique(found.photo_ids[order], return_index=True)
        order = order[np.sort(firsts)]
    ranked = similarities[order]
    if wanted.minimum is not None:
        order = order[ranked >= np.float32(wanted.minimum)]
        if floor < wanted.minimum:
            floor = -np.inf
    if wanted.top:
        order = order[: wanted.top]
    sure = int((similarities[order] > floor).sum())
    enough = floor == -np.inf or (wanted.top > 0 and sure == wanted.top)
    return [Hit(int(found.face_ids[i]), float(similarities[i])) for i in order], enough


def rescore(codes: Codes, query: FloatArray) -> FloatArray:
    """Cosine similarities of codes, float16 (n, d), to one query, float32 (d,), both of unit length.

    Returns float32 (n,), summed in float64 and clipped to -1 to 1.
    """
    out = np.empty(len(codes), np.float32)
    wide = query.astype(np.float64)
    for start in range(0, len(codes), 4096):
        out[start : start + 4096] = np.einsum("nd,d->n", codes[start : start + 4096].astype(np.float64), wide)
    return out.clip(-1, 1)


def in_portions(queries: FloatArray, total: int, action: Callable[[FloatArray], list[Found]]) -> list[Found]:
    """What an action finds for queries, float32 (q, d), in portions that have room for `total` similarities each."""
    step = max(1, _QUERY_BYTES // (4 * max(1, total)))
    return [found for start in range(0, len(queries), step) for found in action(queries[start : start + step])]


def similarities(blocks: Iterator[tuple[int, Codes]], queries: FloatArray, total: int) -> FloatArray:
    """Approximate cosine similarities, float32 (q, total), of codes to queries, float32 (q, d).

    The codes come in blocks: first label, codes float16 (n, d). Labels in no block get -inf.
    """
    out = np.full((len(queries), total), -np.inf, np.float32)
    scaled = np.ascontiguousarray((queries * np.float32(2.0**100)).T)
    wide = np.empty((_BLOCK_ROWS, queries.shape[1]), np.int32)
    for first, codes in blocks:
        for start in range(0, len(codes), _BLOCK_ROWS):
            part = codes[start : start + _BLOCK_ROWS]
            out[:, first + start : first + start + len(part)] = (widen(part, wide[: len(part)]) @ scaled).T
    out *= np.float32(2.0**12)
    return out


def pick_best(rough: FloatArray, count: int) -> list[Found]:
    """The labels of the `count` largest values of each row of float32 (q, total), and the values, falling.

    Those of -inf are left out.
    """
    count = min(count, rough.shape[1])
    if count < rough.shape[1]:
        labels = np.argpartition(-rough, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(rough, labels, axis=1)
    else:
        labels, values = np.broadcast_to(np.arange(count), rough.shape), rough
    order = np.argsort(-values, axis=1, kind="stable")
    labels, values = np.take_along_axis(labels, order, axis=1), np.take_along_axis(values, order, axis=1)
    return [(row[some > -np.inf], some[some > -np.inf]) for row, some in zip(labels, values, strict=True)]


def join_best(parts: Sequence[Found], count: int) -> Found:
    """The `count` best of several parts, by falling similarity; all for 0."""
    labels, rough = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
    order = np.argsort(-rough, kind="stable")[: count or None]
    return labels[order], rough[order]
