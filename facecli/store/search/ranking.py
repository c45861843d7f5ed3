"""The exact nearest faces to each query: a scan of all codes, by numpy or by FAISS, then the best re-scored in one way.

Both scans sum in another order, and their last bits differ. So what they give is only a selection: the similarities
that are shown, compared with the threshold and sorted by are computed once more in float64, and no answer depends on
who scanned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli.config import By
from facecli.store.vector_file import Codes
from facecli.types import FloatArray

Labels = NDArray[np.int64]
FIRST_CANDIDATES = 64
SLACK = 1e-4
"""More than the scans' sums can differ by, twice over."""
_BLOCK_ROWS = 256
_QUERY_BYTES = 64 << 20
_SIGN_AND_CODE = np.int32(-0x70002000)
"""The bits of a float32 that a float16 can set once it is widened: its sign, five bits of exponent, ten of fraction."""


class Wanted(Struct, frozen=True):
    """What is asked of a search."""

    top: int
    """Rows of an answer; 0 for all."""
    minimum: float | None
    by: By


class Identified(Struct, frozen=True):
    """Who the labels of a scan are."""

    face_ids: Labels
    photo_ids: Labels
    codes: Codes


class Hit(Struct, frozen=True):
    """A face and how similar it is."""

    face_id: int
    similarity: float


class VectorScan(Protocol):
    """A way to the codes: the vector file or the catalogue."""

    total: int

    def portion(self, queries: int) -> int:
        """How many of so many queries it answers at once in bounded memory."""

    def best(self, queries: FloatArray, count: int) -> tuple[Labels, FloatArray]:
        """The `count` most similar of each query (q, d), falling: labels (q, count), -1 where there is none, and rough similarities."""

    def identify(self, labels: Labels) -> Identified:
        """The faces of labels; a face id of -1 where a label has none."""


def find_nearest(scan: VectorScan, queries: FloatArray, wanted: Wanted, leave_out: Sequence[Labels]) -> list[list[Hit]]:
    """The answer to each query; similarity falling, then face id. `queries` float32 (q, d), unit length.

    `leave_out` has the faces that must not answer, for each query, or is empty.
    """
    step = scan.portion(len(queries))
    answers: list[list[Hit]] = []
    for start in range(0, len(queries), step):
        answers += _answer_block(scan, queries[start : start + step], wanted, leave_out[start : start + step])
    return answers


def _answer_block(
    scan: VectorScan, queries: FloatArray, wanted: Wanted, leave_out: Sequence[Labels]
) -> list[list[Hit]]:
    """Ask for some candidates, and for eight times as many where they may not be enough."""
    answers: list[list[Hit]] = [[] for _ in queries]
    open_queries = list(range(len(queries))) if scan.total else []
    left_out = leave_out or [np.zeros(0, np.int64)] * len(queries)
    count = _first_count(wanted, scan.total, max(map(len, left_out)))
    while open_queries:
        labels, rough = scan.best(queries[open_queries], count)
        unsure = []
        for number, row_labels, row_rough in zip(open_queries, labels, rough, strict=True):
            floor = -np.inf if count >= scan.total else float(row_rough[-1]) + SLACK
            answers[number], enough = _rank(
                scan.identify(row_labels[row_labels >= 0]), queries[number], wanted, (left_out[number], floor)
            )
            if not enough:
                unsure.append(number)
        open_queries, count = unsure, min(8 * count, scan.total)
    return answers


def _first_count(wanted: Wanted, total: int, left_out: int) -> int:
    if wanted.top == 0 and wanted.minimum is None:
        return total
    return min(total, max(FIRST_CANDIDATES, 4 * wanted.top) + left_out)


def _rank(found: Identified, query: FloatArray, wanted: Wanted, limits: tuple[Labels, float]) -> tuple[list[Hit], bool]:
    """The best of some candidates, and whether no other face could be among them.

    `limits` are the faces to leave out, and the similarity under which there may be faces that were not fetched. A face
    is left out before photos are formed: another face of the same photo stands for it then.
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
    """Cosine similarities float32 (n,) of codes (n, d) to one query (d,), summed in float64, within -1 to 1."""
    out = np.empty(len(codes), np.float32)
    wide = query.astype(np.float64)
    for start in range(0, len(codes), 4096):
        out[start : start + 4096] = np.einsum("nd,d->n", codes[start : start + 4096].astype(np.float64), wide)
    return out.clip(-1, 1)


def portion(total: int) -> int:
    """How many queries have room for a similarity to each of `total` codes."""
    return max(1, _QUERY_BYTES // (4 * max(1, total)))


def similarities(blocks: Iterator[tuple[int, Codes]], queries: FloatArray, total: int) -> FloatArray:
    """Rough similarities float32 (q, total) of codes, given in blocks (first label, codes (n, d)), to queries (q, d)."""
    out = np.full((len(queries), total), -np.inf, np.float32)
    scaled = np.ascontiguousarray((queries * np.float32(2.0**100)).T)
    wide = np.empty((_BLOCK_ROWS, queries.shape[1]), np.int32)
    for first, codes in blocks:
        for start in range(0, len(codes), _BLOCK_ROWS):
            part = codes[start : start + _BLOCK_ROWS]
            out[:, first + start : first + start + len(part)] = (widen(part, wide[: len(part)]) @ scaled).T
    out *= np.float32(2.0**12)
    return out


def widen(codes: Codes, into: NDArray[np.int32]) -> FloatArray:
    """float16 (n, d) as float32 times 2^-112, written into an int32 buffer (n, d).

    numpy widens a float16 in 2.6 ns; moving its bits to where a float32 has them takes 0.4, and what is left, the
    difference of the exponents' biases (127 - 15), is a factor. Finite values only, which a test of the numbers'
    exponents would not change: others come out as large finite ones.
    """
    np.copyto(into, codes.view("<i2"))
    np.left_shift(into, 13, out=into)
    np.bitwise_and(into, _SIGN_AND_CODE, out=into)
    return into.view(np.float32)


def pick_best(rough: FloatArray, count: int) -> tuple[Labels, FloatArray]:
    """The `count` largest of each row (q, total), falling: labels (q, count), -1 where a value is -inf, and the values."""
    count = min(count, rough.shape[1])
    if count < rough.shape[1]:
        labels = np.argpartition(-rough, count - 1, axis=1)[:, :count]
        values = np.take_along_axis(rough, labels, axis=1)
    else:
        labels, values = np.broadcast_to(np.arange(count), rough.shape), rough
    order = np.argsort(-values, axis=1, kind="stable")
    labels, values = np.take_along_axis(labels, order, axis=1), np.take_along_axis(values, order, axis=1)
    return np.where(values == -np.inf, -1, labels).astype(np.int64), values
