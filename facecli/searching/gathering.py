"""Find the faces of queries, one query after another."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from msgspec import Struct, field

from facecli.config import SearchOptions
from facecli.errors import PhotoError, QueryError, UsageError
from facecli.reporting import Reporter
from facecli.searching.people_queries import as_person, face_of_person
from facecli.searching.query_parser import (
    STDIN,
    EmbeddingQuery,
    FaceQuery,
    PersonQuery,
    PhotoQuery,
    Query,
    choose_faces,
    name_query,
)
from facecli.store.reader import IndexReader
from facecli.types import QueryFace

if TYPE_CHECKING:  # reading photos loads OpenCV, and most queries of a script are of faces and people
    from facecli.searching.opening import KeptModels
    from facecli.searching.reading import QueryPhoto, Read

SMALL_FACE = 60
WEAK_SCORE = 0.6


class Surroundings(Struct, frozen=True):
    """The environment of a search: working directory, stdin and reporter."""

    working_directory: str
    stdin: BinaryIO | None
    report: Reporter
    models: KeptModels | None = None
    """The models kept open for later queries, if they are kept."""


class QueryFailure(Struct, frozen=True, eq=False):
    """A query that cannot be answered."""

    query: str
    """As the user typed it."""
    error: PhotoError


Gathered: TypeAlias = tuple[QueryFace, ...] | QueryFailure
"""The faces of one query, at least one, or why there are none."""


class Gathering(Struct):
    """Finds the faces of queries, in order."""

    reader: IndexReader
    options: SearchOptions
    around: Surroundings
    photos: list[QueryPhoto] = field(default_factory=list)
    """The query photos that were used, in order."""

    def gather(self, queries: Sequence[str | Query]) -> Generator[Gathered]:
        """The faces of each query; a caller that may leave early must close the generator.

        Photos are read ahead of the query that is asked for.
        """
        named = [self._name(query) for query in queries]
        with closing(self._read([n for n in named if isinstance(n, PhotoQuery)])) as photos:
            for query, parsed in zip(queries, named, strict=True):
                try:
                    yield self._faces_of(parsed, photos)
                except PhotoError as error:
                    yield QueryFailure(query if isinstance(query, str) else query.query, error)

    def _name(self, query: str | Query) -> Query | PhotoError:
        try:
            named = name_query(query, self.around.working_directory) if isinstance(query, str) else query
            return as_person(self.reader, named)
        except PhotoError as error:
            return error

    def _read(self, queries: Sequence[PhotoQuery]) -> Generator[Read]:
        """Read the photos among the queries; a requested model must be the index's, even if there are no photos."""
        info, named = self.reader.info, self.options.model
        if not queries and named is None:
            return _no_photos()
        from facecli.searching.opening import ModelSource, choose_pack  # noqa: PLC0415 (as above)
        from facecli.searching.reading import ReadingOptions, read_photos  # noqa: PLC0415

        source = ModelSource(
            choose_pack(named, info), self.options.device, info, self.around.report, self.around.models
        )
        wanted = ReadingOptions(self.options.reading, sha256=self.options.provenance)
        return read_photos(source, queries, wanted, self.around.stdin)

    def _faces_of(self, query: Query | PhotoError, photos: Iterator[Read]) -> tuple[QueryFace, ...]:
        """The faces of one query; raises PhotoError."""
        if isinstance(query, PhotoError):
            raise query
        if isinstance(query, EmbeddingQuery):
            return (self._face_of_embedding(query),)
        if isinstance(query, FaceQuery):
            return (face_of_index(self.reader, query),)
        if isinstance(query, PersonQuery):
            return (face_of_person(self.reader, query),)
        photo = next(photos)
        if isinstance(photo, PhotoError):
            raise photo
        chosen = choose_faces(photo.query, photo.faces, self.options.face)
        warn_of_query(photo.query, photo.faces, chosen, self.options.face, self.around.report)
        self.photos.append(photo)
        return chosen

    def _face_of_embedding(self, query: EmbeddingQuery) -> QueryFace:
        dimension = self.reader.info.fingerprint.dimension
        if len(query.embedding) != dimension:
            what = f"an embedding of {len(query.embedding)} numbers, where the index has {dimension} a face"
            raise QueryError(what, query.query)
        return QueryFace(query.query, 1, (0.0, 0.0, 0.0, 0.0), 1.0, query.embedding)


def _no_photos() -> Generator[Read]:
    yield from ()


def face_of_index(reader: IndexReader, query: FaceQuery) -> QueryFace:
    """The face of a query `face:ID`; raises QueryError if the index has no such face."""
    face = reader.face(query.face_id)
    return QueryFace(query.query, 1, face.box, face.score, face.embedding, face.face_id)


def check_stdin(queries: Sequence[str | Query]) -> None:
    """Raise UsageError if stdin is given twice."""
    if queries.count(STDIN) > 1:
        raise UsageError("stdin can be read only once", STDIN)


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
