"""Queries by a person: the matches are the person's faces."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from facecli.config import By
from facecli.errors import QueryError
from facecli.photos.kinds import kind_by_name
from facecli.searching.combining import mean_of
from facecli.searching.query_parser import PERSON_PREFIX, STDIN, PersonQuery, PhotoQuery, Query
from facecli.store.people.names import is_name
from facecli.store.reader import IndexReader
from facecli.types import Match, QueryFace


def as_person(reader: IndexReader, query: Query) -> Query:
    """A query by a name: of a photo that is no file, where somebody of the index is called so.

    Raises QueryError where nobody is, and the name does not look like that of a file.
    """
    if not isinstance(query, PhotoQuery) or query.is_photo or query.content is not None or query.path == STDIN:
        return query
    if not is_name(query.query) or os.path.lexists(query.path):
        return query
    standing = reader.people.standing()
    if standing.named(query.query) is not None:
        return PersonQuery(query.query, query.query)
    if "/" in query.query or kind_by_name(os.fsencode(query.query)) is not None:
        return query
    what = "no such photo, and nobody in the index is called so"
    raise QueryError(what, query.query, hint=standing.advice(query.query))


def may_ask_for_people(queries: Sequence[str], working_directory: str) -> bool:
    """Whether a query as typed may be for a person; without one, nobody needs to look into the index."""
    return any(query.startswith(PERSON_PREFIX) or _is_free_name(query, working_directory) for query in queries)


def asks_for_people(reader: IndexReader, queries: Sequence[str], working_directory: str) -> bool:
    """Whether a query as typed is for a person, so that the groups must be up to date."""
    if any(query.startswith(PERSON_PREFIX) for query in queries):
        return True
    names = [query for query in queries if _is_free_name(query, working_directory)]
    if not names:
        return False
    standing = reader.people.standing()
    return any(standing.named(name) is not None for name in names)


def _is_free_name(query: str, working_directory: str) -> bool:
    """Whether a query can be the name of a person: no file is called so."""
    return is_name(query) and not os.path.lexists(os.path.join(working_directory, query))


def face_of_person(reader: IndexReader, query: PersonQuery) -> QueryFace:
    """What stands for a person: the mean of the faces, with box and score of the cover.

    Raises QueryError where there is no such person, or where no photo shows the person.
    """
    people = reader.people
    person_id = people.find(query.person)
    embeddings = people.embeddings(person_id)
    if not len(embeddings):
        raise QueryError("no photo of the index shows this person", query.query)
    cover = people.faces([person_id])[0]
    return QueryFace(query.query, 1, cover.box, cover.score, mean_of(embeddings), cover.face_id, person_id)


def matches_of_person(
    reader: IndexReader, person_id: int, by: By, is_allowed: Callable[[int], bool] = lambda _: True
) -> list[Match]:
    """The faces of a person, or the best one of each photo, the most similar to the mean of them first.

    `is_allowed` says which faces, by their ids, count.
    """
    found: list[Match] = []
    paths: set[str] = set()
    for face in reader.people.faces([person_id]):
        if is_allowed(face.face_id) and not (by is By.PHOTO and face.path in paths):
            paths.add(face.path)
            found.append(Match(len(found) + 1, face.similarity, face.face_id, face.path, face.box, face.score))
    return reader.with_times(found)
