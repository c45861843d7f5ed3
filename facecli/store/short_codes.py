"""Short codes: one bit for each dimension of an embedding, and a factor, by which FAISS estimates similarities.

They are the codes of RaBitQ (Gao and Long, 2024) as FAISS's IndexRaBitQ has them with the origin as centroid and no
rotation: nothing is trained, so that they only depend on the embedding. The bits are the signs. The two float32 are the
difference of two norms, which is 0 here, and the length of the embedding divided by its cosine with its signs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from facecli.store.vector_file import Codes, ShortCodes
from facecli.types import FloatArray

QUERY_BITS = 4
"""To how many bits FAISS rounds a query that it compares with short codes; more take longer and estimate no better."""

_ROWS = 64
"""Embeddings that are widened at once: few enough to stay in the processor's cache."""


def encode(codes: Codes) -> ShortCodes:
    """The short codes uint8 (n, code size) of codes, float16 (n, d); zeros for zeros.

    The sums are exact in float64 whatever their order, so that the bytes are the same on every machine.
    """
    squares, lengths, signs = np.empty(len(codes)), np.empty(len(codes)), np.empty(codes.shape, np.bool_)
    for first in range(0, len(codes), _ROWS):
        rows = slice(first, first + _ROWS)
        wide = codes[rows].astype(np.float64)
        squares[rows], lengths[rows] = np.einsum("nd,nd->n", wide, wide), np.abs(wide).sum(axis=1)
        signs[rows] = wide > 0
    with np.errstate(all="ignore"):
        factors = np.sqrt(float(codes.shape[1])) * squares / lengths
    factors = np.where(np.isfinite(factors), factors, 0).astype("<f4")
    norms = np.stack([np.zeros_like(factors), factors], axis=1).view(np.uint8)
    return np.concatenate([np.packbits(signs, axis=1, bitorder="little"), norms], axis=1)


def make_estimator(dimension: int) -> Any:
    """An empty FAISS index of short codes, which estimates similarities."""
    import faiss  # noqa: PLC0415 (a small index is searched without it)

    index: Any = faiss.IndexRaBitQ(dimension, faiss.METRIC_INNER_PRODUCT)
    index.train(np.zeros((1, dimension), np.float32))
    index.qb = QUERY_BITS
    return index


def estimate(queries: FloatArray, codes: ShortCodes) -> FloatArray:
    """Estimated similarities float32 (q, n) of short codes, uint8 (n, code size), to queries, float32 (q, d)."""
    index = make_estimator(queries.shape[1])
    index.add_sa_codes(codes)
    out = np.full((len(queries), len(codes)), -np.inf, np.float32)
    limits, found, places = index.range_search(np.ascontiguousarray(queries), float(np.finfo(np.float32).min))
    out[np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64))), places] = found
    return out
