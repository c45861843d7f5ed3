"""Read what the catalogue holds about people; an index made before there were people holds nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import xxhash

from facecli.captures import iso_time
from facecli.limits import PhotoLimits
from facecli.persons import PersonFace
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import DIGEST_SIZE, are_unit, as_bytes, as_float, as_int, read_box, read_codes
from facecli.store.catalog.schema import CAPTURES_FROM
from facecli.store.catalog.selection import Selection
from facecli.store.catalog.sets import Row
from facecli.store.errors import trusted
from facecli.store.people.edges import read_edges
from facecli.store.people.log import MOST_PEOPLE, DecisionLog
from facecli.store.people.records import (
    EdgeTable,
    FaceKey,
    FaceTable,
    Grouping,
    GroupMember,
    PersonGroup,
    Resemblance,
)
from facecli.types import FloatArray, PhotoFile

PAGE = 4096
_FACES = (
    "SELECT f.face_id, p.digest, f.box, f.score, f.checksum, e.embedding FROM faces f JOIN photos p USING (photo_id) "
    "JOIN embeddings e USING (face_id) WHERE f.set_id = ? AND f.face_id > ? ORDER BY f.face_id LIMIT ?"
)
_MEMBERS = (
    "SELECT m.face_id, m.person_id, m.similarity, m.decided, f.box, f.score, p.path, p.digest, p.size, p.mtime_ns "
    "FROM members m JOIN faces f USING (face_id) JOIN photos p USING (photo_id) WHERE f.set_id = ?"
)


class StoredPeople(DecisionLog):
    """People as an index holds them: decisions, and the groups that follow from them."""

    def __init__(self, catalogue: Catalogue, limits: PhotoLimits | None = None) -> None:
        """`limits` are those of the photos whose faces are listed and counted by `faces`, `counts` and `times`."""
        super().__init__(catalogue)
        self._within, self._ends = Selection(catalogue, limits).condition() if limits else ("true", [])

    def grouping(self) -> Grouping:
        """What the groups were made from."""
        if not self.exists:
            return Grouping()
        rows = self._catalogue.rows(
            "SELECT last_person, generation, signature, last_face, threshold, least FROM grouping"
        )
        with trusted(self._catalogue.path):
            if not rows:
                return Grouping()
            *numbers, threshold, least = rows[0]
            last_person, generation, signature, last_face = map(as_int, numbers)
            if not 0 <= last_person < MOST_PEOPLE:
                raise ValueError("not an id of a person")
            limit = None if threshold is None else as_float(threshold)
            return Grouping(last_person, generation, signature, last_face, limit, as_float(least))

    def members(self) -> list[GroupMember]:
        """All members of all people, ascending by face."""
        if not self.exists:
            return []
        rows = self._catalogue.rows("SELECT face_id, person_id, similarity, decided FROM members ORDER BY face_id")
        with trusted(self._catalogue.path):
            return [_member(*row) for row in rows]

    def faces(self, people: Sequence[int] | None = None) -> list[PersonFace]:
        """The faces of some people (None: of all), the most similar of each person first."""
        if not self.exists:
            return []
        order = "ORDER BY m.person_id, m.similarity DESC, m.face_id"
        mine = self._catalogue.set_id
        if people is None:
            rows = self._catalogue.rows(f"{_MEMBERS} AND {self._within} {order}", (mine, *self._ends))
        else:
            query = f"{_MEMBERS} AND m.person_id = ? AND {self._within} {order}"
            rows = [row for person in people for row in self._catalogue.rows(query, (mine, person, *self._ends))]
        with trusted(self._catalogue.path):
            return [self._member_face(row) for row in rows]

    def photos(self, person_id: int) -> set[int]:
        """The ids of the photos that show a person."""
        query = (
            "SELECT DISTINCT f.photo_id FROM members m JOIN faces f USING (face_id) "
            "WHERE f.set_id = ? AND m.person_id = ?"
        )
        rows = self._catalogue.rows(query, (self._catalogue.set_id, person_id)) if self.exists else []
        with trusted(self._catalogue.path):
            return {as_int(number) for (number,) in rows}

    def embeddings(self, person_id: int) -> FloatArray:
        """The embeddings of a person's faces, float32 (n, d), of unit length."""
        query = (
            "SELECT e.embedding FROM members m JOIN faces f USING (face_id) JOIN embeddings e USING (face_id) "
            "WHERE f.set_id = ? AND m.person_id = ? ORDER BY m.face_id"
        )
        rows = self._catalogue.rows(query, (self._catalogue.set_id, person_id)) if self.exists else []
        with trusted(self._catalogue.path):
            dimension = self._catalogue.sets()[True].file.dimension
            codes = read_codes([as_bytes(embedding) for (embedding,) in rows], dimension)
            if not are_unit(codes).all():
                raise ValueError("not an embedding")
            return codes.astype(np.float32)

    def person_of(self, face_id: int) -> int | None:
        """The person of a face; None where it has none."""
        if not self.exists:
            return None
        rows = self._catalogue.rows("SELECT person_id FROM members WHERE face_id = ?", (face_id,))
        with trusted(self._catalogue.path):
            return as_int(rows[0][0]) if rows else None

    def find(self, asked: str) -> int:
        """The id of the person that an id or a name stands for; raises QueryError where there is none."""
        return self.standing().find(asked, frozenset(self.counts()))

    def counts(self) -> dict[int, tuple[int, int]]:
        """For each person with faces: the number of faces, and of photos; copies of a photo count as one."""
        if not self.exists:
            return {}
        query = (
            "SELECT m.person_id, count(*), count(DISTINCT p.digest) FROM members m JOIN faces f USING (face_id) "
            f"JOIN photos p USING (photo_id) WHERE f.set_id = ? AND {self._within} GROUP BY m.person_id"
        )
        with trusted(self._catalogue.path):
            rows = self._catalogue.rows(query, (self._catalogue.set_id, *self._ends))
            return {_person_id(person): (as_int(faces), as_int(photos)) for person, faces, photos in rows}

    def ids(self) -> set[int]:
        """Everybody: the people who have faces, and those about whom there is a decision."""
        rows = self._catalogue.rows("SELECT DISTINCT person_id FROM members") if self.exists else []
        with trusted(self._catalogue.path):
            return {_person_id(person) for (person,) in rows} | self.standing().people.keys()

    def totals(self) -> tuple[int, int]:
        """How many people there are, and how many of them have a name."""
        return len(self.ids()), sum(bool(person.name) for person in self.standing().people.values())

    def tag(self) -> str:
        """What tells this index from others; it says nothing else, and a copy of the index has the same."""
        return self._catalogue.token(b"people").hex()[:12]

    def newer_faces(self) -> int:
        """How many faces came since the groups were made."""
        query = "SELECT count(*) FROM faces WHERE set_id = ? AND face_id > ?"
        return self._catalogue.number(query, (self._catalogue.set_id, self.grouping().last_face))

    def generation(self) -> int:
        """The generation of the catalogue."""
        return self._catalogue.number("SELECT generation FROM state")

    def times(self) -> dict[int, tuple[str, str]]:
        """For each person of whose photos a time is known: when the earliest and the latest were taken, ISO."""
        if self._catalogue.version < CAPTURES_FROM:
            return {}
        query = (
            "SELECT m.person_id, min(p.taken_ms), max(p.taken_ms) FROM members m JOIN faces f USING (face_id) "
            "JOIN photos p USING (photo_id) "
            f"WHERE f.set_id = ? AND p.taken_ms IS NOT NULL AND {self._within} GROUP BY m.person_id"
        )
        rows = self._catalogue.rows(query, (self._catalogue.set_id, *self._ends))
        with trusted(self._catalogue.path):
            ends = {_person_id(person): (iso_time(as_int(low)), iso_time(as_int(high))) for person, low, high in rows}
        return {person: (low, high) for person, (low, high) in ends.items() if low is not None and high is not None}

    def recogniser(self) -> str:
        """The SHA-256 of the model that made the embeddings."""
        return self._catalogue.sets()[True].fingerprint.recogniser_sha256

    def signature(self) -> int:
        """The signature of `table`, without reading the embeddings."""
        digest = xxhash.xxh3_64()
        for rows in self._pages(_FACES.replace("e.embedding", "NULL")):
            with trusted(self._catalogue.path):
                digest.update(
                    b"".join(_signed(face_id, content, checksum) for face_id, content, _, _, checksum, _ in rows)
                )
        return _as_signed(digest.intdigest())

    def table(self) -> FaceTable:
        """All faces with their embeddings, checked."""
        found: list[Row] = []
        for rows in self._pages(_FACES):
            found += rows
        with trusted(self._catalogue.path):
            codes = read_codes([as_bytes(row[5]) for row in found], self._catalogue.sets()[True].file.dimension)
            if not are_unit(codes).all():
                raise ValueError("not an embedding")
            return FaceTable(
                np.array([as_int(row[0]) for row in found], np.int64),
                tuple(_key(row[1], row[2]) for row in found),
                np.array([as_float(row[3]) for row in found], np.float32),
                codes,
                _as_signed(xxhash.xxh3_64_intdigest(b"".join(_signed(row[0], row[1], row[4]) for row in found))),
            )

    def keys(self) -> dict[int, FaceKey]:
        """The content and box of each face, by its id."""
        found: dict[int, FaceKey] = {}
        for rows in self._pages(_FACES.replace("e.embedding", "NULL")):
            with trusted(self._catalogue.path):
                found |= {as_int(row[0]): _key(row[1], row[2]) for row in rows}
        return found

    def _pages(self, query: str) -> Iterator[list[Row]]:
        last = 0
        while rows := self._catalogue.rows(query, (self._catalogue.set_id, last, PAGE)):
            yield rows
            with trusted(self._catalogue.path):
                last = as_int(rows[-1][0])

    def persons(self) -> list[PersonGroup]:
        """Cover and cohesion of each person with faces, ascending by id."""
        if not self.exists:
            return []
        rows = self._catalogue.rows("SELECT person_id, cover, cohesion FROM persons ORDER BY person_id")
        with trusted(self._catalogue.path):
            return [PersonGroup(_person_id(person), as_int(cover), as_float(much)) for person, cover, much in rows]

    def suggestions(self) -> list[Resemblance]:
        """People who may be one, the most similar first."""
        if not self.exists:
            return []
        query = "SELECT person_id, other, similarity FROM suggestions ORDER BY similarity DESC, person_id, other"
        with trusted(self._catalogue.path):
            return [
                Resemblance(_person_id(one), _person_id(other), as_float(similarity))
                for one, other, similarity in self._catalogue.rows(query)
            ]

    def edges(self) -> EdgeTable:
        """The kept edges, empty where there are none."""
        query = "SELECT face_id, digest, others, similarities FROM edges ORDER BY face_id"
        rows = self._catalogue.rows(query) if self.exists else []
        with trusted(self._catalogue.path):
            return read_edges(rows)

    def _member_face(self, row: Row) -> PersonFace:
        *member, box, score, path, digest, size, mtime_ns = row
        file = PhotoFile(self._catalogue.paths.unpack(as_bytes(path)), as_int(size), as_int(mtime_ns))
        one = _member(*member)
        place = read_box(as_bytes(box)), as_float(score), file, _key(digest, box)
        return PersonFace(one.face_id, one.person_id, one.similarity, one.decided, *place)


def _member(face_id: object, person_id: object, similarity: object, decided: object) -> GroupMember:
    return GroupMember(as_int(face_id), _person_id(person_id), min(max(as_float(similarity), -1.0), 1.0), bool(decided))


def _key(digest: object, box: object) -> FaceKey:
    if len(as_bytes(digest)) != DIGEST_SIZE:
        raise ValueError("not a digest")
    read_box(as_bytes(box))
    return as_bytes(digest), as_bytes(box)


def _person_id(number: object) -> int:
    if not 0 < as_int(number) < MOST_PEOPLE:
        raise ValueError("not an id of a person")
    return as_int(number)


def _signed(face_id: object, digest: object, checksum: object) -> bytes:
    return b"%d %d %b" % (as_int(face_id), as_int(checksum), as_bytes(digest))


def _as_signed(number: int) -> int:
    """An unsigned 64-bit number as SQLite stores it."""
    return number - (1 << 64) if number >> 63 else number
