"""Search an index: find the faces of the queries, combine them into blocks, and match each block."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import BinaryIO, TypeAlias

import numpy as np
from msgspec import Struct, field
from msgspec.structs import replace

from facecli.config import Combine, SearchOptions
from facecli.errors import FacecliError, PhotoError, QueryError, UsageError
from facecli.reporting import Reporter, SilentReporter
from facecli.searching.calibrating import find_calibration
from facecli.searching.combining import Block, combine_faces, merge_matches
from facecli.searching.opening import KeptModels, ModelSource, choose_pack
from facecli.searching.query_parser import STDIN, EmbeddingQuery, FaceQuery, PhotoQuery, Query, choose_faces, name_query
from facecli.searching.reading import QueryPhoto, Read, ReadingOptions, read_photos
from facecli.store.reader import IndexReader
from facecli.store.records import Scope
from facecli.thresholds import ConfidenceScale, Threshold, choose_threshold, confidence_scale
from facecli.types import QueryFace, SearchResult

MANY = 10
"""The number of queries from which on progress is reported."""
OTHER_VERSION = "search with the facecli that made it, or let `facecli index --migrate` embed everything again"
SMALL_FACE = 60
WEAK_SCORE = 0.6


NamedQuery: TypeAlias = str | os.PathLike[str] | Query
"""A query as typed, or already parsed."""


class Surroundings(Struct, frozen=True):
    """The environment of a search: working directory, stdin and reporter."""

    working_directory: str
    stdin: BinaryIO | None
    report: Reporter
    models: KeptModels | None = None
    """The models kept open for later queries, if they are kept."""


class SearchAnswer(Struct, frozen=True, eq=False):
    """The result of a search."""

    results: tuple[SearchResult, ...]
    references: tuple[tuple[QueryFace, ...], ...]
    """The query faces of each result."""
    failures: tuple[FacecliError, ...]
    """The error of each failed query, in order."""
    threshold: Threshold
    photos: tuple[QueryPhoto, ...]
    """The query photos that were used, in order."""


def search_index(
    reader: IndexReader,
    queries: NamedQuery | Sequence[NamedQuery],
    options: SearchOptions | None = None,
    around: Surroundings | None = None,
) -> SearchAnswer:
    """Search an index for the faces of queries, as typed or already parsed; failed queries are in the answer.

    Without `around`, the working directory and stdin of the process are used, and nothing is reported. Raises
    UsageError if options contradict each other, and IndexMismatch, PackError or DeviceError if the models cannot be
    used.
    """
    options = options or SearchOptions()
    around = around or Surroundings(os.getcwd(), sys.stdin.buffer, SilentReporter())
    named = queries if isinstance(queries, Sequence) and not isinstance(queries, str) else [queries]
    asked = [os.fspath(query) if isinstance(query, os.PathLike) else query for query in named]
    check_stdin(asked)
    if options.combine is Combine.MEAN and options.face == "all":
        raise UsageError(
            "a mean needs exactly one face of each reference",
            "--combine mean --face all",
            hint="--face largest, or --combine any",
        )
    made_with = reader.info.fingerprint
    made_with.ask_same(made_with.as_made_here(), reader.info.directory, OTHER_VERSION)
    calibration = find_calibration(made_with.recogniser_sha256)
    threshold = choose_threshold(options.threshold, calibration, reader.info.faces)
    gathering = _Gathering(reader, options, around)
    gathering.gather(asked)
    blocks = combine_faces(gathering.faces, options.combine)
    scale = None if calibration is None else confidence_scale(calibration, reader.info.faces)
    results = tuple(with_confidence(result, scale) for result in _ask(reader, blocks, threshold.minimum, options))
    return SearchAnswer(
        results,
        tuple(block.references for block in blocks),
        tuple(gathering.failures),
        threshold,
        tuple(gathering.photos),
    )


def check_stdin(queries: Sequence[str | Query]) -> None:
    """Raise UsageError if stdin is given twice."""
    if queries.count(STDIN) > 1:
        raise UsageError("stdin can be read only once", STDIN)


def _ask(
    reader: IndexReader, blocks: Sequence[Block], minimum: float | None, options: SearchOptions
) -> Iterator[SearchResult]:
    """Search the index for all blocks at once, with one row per query face."""
    if not blocks:
        return
    vectors = np.stack([face.embedding for block in blocks for face in block.faces])
    left_out = [ids for block in blocks for ids in [np.array(block.left_out, np.int64)] * len(block.faces)]
    found = iter(reader.nearest(vectors, top=options.top, minimum=minimum, by=options.by, scope=Scope(left_out)))
    for block in blocks:
        yield merge_matches(block, [next(found) for _ in block.faces], options.top, options.by)


def with_confidence(result: SearchResult, scale: ConfidenceScale | None) -> SearchResult:
    """The result with the confidence in each match; unchanged without a scale."""
    if scale is None:
        return result
    matches = tuple(replace(match, confidence=scale.judge(match.similarity)) for match in result.matches)
    return replace(result, matches=matches)


class _Gathering(Struct):
    """Collects the faces of the queries, in order."""

    reader: IndexReader
    options: SearchOptions
    around: Surroundings
    faces: list[QueryFace] = field(default_factory=list)
    photos: list[QueryPhoto] = field(default_factory=list)
    failures: list[FacecliError] = field(default_factory=list)

    def gather(self, queries: Sequence[str | Query]) -> None:
        """Fill the lists of faces, photos and failures."""
        named = [self._name(query) for query in queries]
        report = self.around.report
        if len(queries) >= MANY:
            report.start("queries", len(queries))
        try:
            with closing(self._read([n for n in named if isinstance(n, PhotoQuery)])) as photos:
                for query in named:
                    self._take(query, photos)
                    if len(queries) >= MANY:
                        report.advance(1, failed=len(self.failures))
        finally:
            report.stop()

    def _take(self, query: Query | PhotoError, photos: Iterator[Read]) -> None:
        try:
            self.faces += self._faces_of(query, photos)
        except PhotoError as error:
            self.failures.append(error)

    def _name(self, query: str | Query) -> Query | PhotoError:
        try:
            return name_query(query, self.around.working_directory) if isinstance(query, str) else query
        except PhotoError as error:
            return error

    def _read(self, queries: Sequence[PhotoQuery]) -> Generator[Read]:
        """Read the photos among the queries; a requested model must be the index's, even if there are no photos."""
        info, named = self.reader.info, self.options.model
        if not queries and named is None:
            return _no_photos()
        source = ModelSource(
            choose_pack(named, info), self.options.device, info, self.around.report, self.around.models
        )
        wanted = ReadingOptions(self.options.reading, sha256=self.options.provenance)
        return read_photos(source, queries, wanted, self.around.stdin)

    def _faces_of(self, query: Query | PhotoError, photos: Iterator[Read]) -> Sequence[QueryFace]:
        """The faces of one query; raises PhotoError."""
        if isinstance(query, PhotoError):
            raise query
        if isinstance(query, EmbeddingQuery):
            dimension = self.reader.info.fingerprint.dimension
            if len(query.embedding) != dimension:
                raise QueryError(
                    f"an embedding of {len(query.embedding)} numbers, where the index has {dimension} a face",
                    query.query,
                )
            return [QueryFace(query.query, 1, (0.0, 0.0, 0.0, 0.0), 1.0, query.embedding)]
        if isinstance(query, FaceQuery):
            face = self.reader.face(query.face_id)
            return [QueryFace(query.query, 1, face.box, face.score, face.embedding, face.face_id)]
        photo = next(photos)
        if isinstance(photo, PhotoError):
            raise photo
        chosen = choose_faces(photo.query, photo.faces, self.options.face)
        warn_of_query(photo.query, photo.faces, chosen, self.options.face, self.around.report)
        self.photos.append(photo)
        return chosen


def _no_photos() -> Generator[Read]:
    yield from ()


def warn_of_query(
    query: str, faces: Sequence[QueryFace], chosen: Sequence[QueryFace], face: str, report: Reporter
) -> None:
    """Warn of what makes an answer less certain: several faces in the query photo, or a small or weak face."""
    if len(faces) > 1 and face == "largest":
        others = "2" if len(faces) == 2 else f"2 to {len(faces)}"
        report.warn(f"{query}: {len(faces)} faces, the largest is used; --face {others} or --face all chooses others")
    for one in chosen:
        side = min(one.box[2] - one.box[0], one.box[3] - one.box[1])
        if side < SMALL_FACE:
            report.warn(f"{query}: face {one.number} is only {side:.0f} pixels wide, so the answer is less certain")
        elif one.score < WEAK_SCORE:
            report.warn(
                f"{query}: face {one.number} is hard to see (score {one.score:.2f}), so the answer is less certain"
            )
