"""Decide whether two photos show the same person, without an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import product

from msgspec import Struct

from facecli.calibrating import find_calibration
from facecli.config import SearchOptions
from facecli.errors import PhotoError, UsageError
from facecli.searching.gathering import Surroundings, check_stdin, face_of_index, warn_of_query
from facecli.searching.opening import ModelSource, choose_pack
from facecli.searching.people_queries import face_of_person
from facecli.searching.query_parser import (
    FaceQuery,
    PersonQuery,
    PhotoQuery,
    Query,
    choose_faces,
    name_photo,
    name_query,
)
from facecli.searching.reading import Read, ReadingOptions, read_photos
from facecli.store.reader import IndexReader
from facecli.store.records import IndexInfo
from facecli.thresholds import Threshold, choose_threshold
from facecli.types import QueryFace


class Verdict(Struct, frozen=True, eq=False):
    """The similarity of the most similar pair of the chosen faces."""

    faces: tuple[QueryFace, QueryFace]
    similarity: float
    threshold: Threshold

    @property
    def same(self) -> bool:
        """Whether both are the same person, according to the threshold."""
        return self.similarity >= (self.threshold.minimum or 0.0)


def verify_photos(
    queries: tuple[str | Query, str | Query],
    options: SearchOptions,
    around: Surroundings,
    info: IndexInfo | None,
    reader: IndexReader | None = None,
) -> Verdict:
    """Compare one face of each photo, or with `--face all` the most similar pair.

    A query may also be a face or a person of the index that `reader` reads. Raises PhotoError if a photo cannot be
    read or has no such face, and UsageError if there is no threshold.
    """
    check_stdin(queries)
    named = [_parsed(query, around.working_directory, reader) for query in queries]
    pack = choose_pack(options.model, info)
    threshold = choose_threshold(options.threshold, find_calibration(pack.recogniser.sha256), 1)
    if threshold.minimum is None:
        raise UsageError(
            "there is no verdict without a threshold", threshold.describe(), hint="-t NUMBER, or facecli calibrate DIR"
        )
    source = ModelSource(pack, options.device, info, around.report)
    photos = [query for query in named if isinstance(query, PhotoQuery)]
    with closing(read_photos(source, photos, ReadingOptions(options.reading), around.stdin)) as read:
        chosen = [_faces_of(query, read, options.face, around, reader) for query in named]
    similarity, _, pair = max(
        (float(a.embedding @ b.embedding), -number, (a, b)) for number, (a, b) in enumerate(product(*chosen))
    )
    return Verdict(pair, similarity, threshold)


def _parsed(query: str | Query, working_directory: str, reader: IndexReader | None) -> Query:
    """The query; without an index every text names a photo."""
    if not isinstance(query, str):
        return query
    return name_photo(query, working_directory) if reader is None else name_query(query, working_directory)


def _faces_of(
    query: Query, read: Iterator[Read], face: str, around: Surroundings, reader: IndexReader | None
) -> tuple[QueryFace, ...]:
    """The faces of one query; raises PhotoError."""
    if isinstance(query, FaceQuery) and reader is not None:
        return (face_of_index(reader, query),)
    if isinstance(query, PersonQuery) and reader is not None:
        return (face_of_person(reader, query),)
    if not isinstance(query, PhotoQuery):
        raise UsageError("not a photo, face:ID or person:NAME", query.query)
    photo = next(read)
    if isinstance(photo, PhotoError):
        raise photo
    chosen = choose_faces(photo.query, photo.faces, face)
    warn_of_query(photo.query, photo.faces, chosen, face, around.report)
    return chosen
