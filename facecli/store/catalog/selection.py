"""Select the photos and faces that limits allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from facecli.captures import Capture
from facecli.exports import ExportedFace, ExportedPhoto
from facecli.limits import PhotoLimits, is_pattern, pattern_of
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import (
    are_unit,
    as_bytes,
    as_float,
    as_int,
    read_box,
    read_capture,
    read_codes,
    read_landmarks,
)
from facecli.store.catalog.schema import CAPTURES_FROM
from facecli.store.catalog.sets import Row
from facecli.store.errors import trusted
from facecli.store.records import Selected, StoredPhoto
from facecli.store.vector_file import Codes
from facecli.types import FoundBy

_PAGE = 1024


class Selection:
    """The condition that limits put on rows of `photos p`."""

    def __init__(self, catalogue: Catalogue, limits: PhotoLimits) -> None:
        self._catalogue, self._limits = catalogue, limits
        self._knows = catalogue.version >= CAPTURES_FROM
        near = limits.near
        if near is not None:
            catalogue.connection.create_function("is_near", 2, near.holds, deterministic=True)
        patterns = [pattern_of(one) for one in limits.under if is_pattern(one)]
        unpack = catalogue.paths.unpack
        catalogue.connection.create_function(
            "is_under", 1, lambda path: any(pattern.fullmatch(unpack(path)) for pattern in patterns), deterministic=True
        )

    def faces(self) -> Selected:
        """The faces of the photos."""
        where, values = self.condition()
        query = f"SELECT f.face_id, f.slot FROM photos p JOIN faces f USING (photo_id) WHERE {where}"
        rows = self._catalogue.rows(query, values)
        with trusted(self._catalogue.path):
            numbers = np.array(rows, np.int64).reshape(len(rows), 2)
        numbers = numbers[np.argsort(numbers[:, 0], kind="stable")]
        return Selected(numbers[:, 0].copy(), numbers[:, 1].copy(), self.undated(), self.unplaced())

    def photos(self) -> Iterator[StoredPhoto]:
        """The photos, ascending by path."""
        where, values = self.condition()
        columns = self._catalogue.photo_columns
        query = f"SELECT {columns} FROM photos p WHERE {where} AND path >= ? AND path < ?"
        return self._catalogue.photos_of(query, tuple(values))

    def exported_faces(
        self, person_id: int | None, names: Mapping[int, str], *, embeddings: bool
    ) -> Iterator[ExportedFace]:
        """The faces of the photos, ascending by id, or those of one person; `names` are people's by their ids."""
        where, values = self.condition()
        code = "e.embedding" if embeddings else "NULL"
        query = (
            "SELECT f.face_id, f.box, f.landmarks, f.score, f.found_by, p.photo_id, p.path, p.digest, p.width, "
            f"p.height, {self._catalogue.person_column} AS person, {code}, {self._catalogue.capture_columns} "
            "FROM faces f CROSS JOIN photos p USING (photo_id) JOIN embeddings e USING (face_id) "
            f"WHERE f.face_id > ? AND {where}{'' if person_id is None else ' AND person = ?'} "
            f"ORDER BY f.face_id LIMIT {_PAGE}"
        )
        last = 0
        while rows := self._catalogue.rows(query, (last, *values, *([] if person_id is None else [person_id]))):
            with trusted(self._catalogue.path):
                last = as_int(rows[-1][0])
                codes = self._embeddings([row[11] for row in rows]) if embeddings else [None] * len(rows)
                for row, code in zip(rows, codes, strict=True):
                    yield self._exported(row, code, names)

    def _exported(self, row: Row, code: Codes | None, names: Mapping[int, str]) -> ExportedFace:
        face_id, box, marks, score, found_by, number, path, digest, width, height, person, _, *capture = row
        photo = ExportedPhoto(
            as_int(number),
            self._catalogue.paths.unpack(as_bytes(path)),
            as_bytes(digest),
            as_int(width),
            as_int(height),
            read_capture(capture) or Capture(),
        )
        person_id = None if person is None else as_int(person)
        points = read_landmarks(as_bytes(marks)).ravel().tolist()
        return ExportedFace(
            as_int(face_id),
            photo,
            read_box(as_bytes(box)),
            tuple(points),
            as_float(score),
            FoundBy(as_int(found_by)).name.lower(),
            person_id,
            names.get(person_id) if person_id is not None else None,
            code,
        )

    def _embeddings(self, stored: Sequence[object]) -> Codes:
        numbers = read_codes([as_bytes(code) for code in stored], self._catalogue.dimension)
        if not are_unit(numbers).all():
            raise ValueError("not an embedding")
        return numbers

    def undated(self) -> int:
        """How many photos are left out because they have no date; some of them have no place, either."""
        if not self._limits.timed:
            return 0
        where, values = self.condition(timed=False, placed=False)
        place, edges = self._place()
        if self._knows:
            where += f" AND p.taken_ms IS NULL AND (p.latitude IS NULL OR {place or 'true'})"
            values += edges
        return self._catalogue.number(f"SELECT count(*) FROM photos p WHERE {where}", values)

    def unplaced(self) -> int:
        """How many photos are left out because they have no place, though they have a date that fits."""
        if self._limits.near is None:
            return 0
        where, values = self.condition(timed=True, placed=False)
        missing = "AND p.latitude IS NULL" if self._knows else ""
        return self._catalogue.number(f"SELECT count(*) FROM photos p WHERE {where} {missing}", values)

    def condition(self, *, timed: bool = True, placed: bool = True) -> tuple[str, list[object]]:
        """The SQL condition and its parameters, with or without the limits of time and place."""
        parts: list[str] = ["p.set_id = ?"]
        values: list[object] = [self._catalogue.set_id]
        for part, some in (self._under(), self._time() if timed else ("", []), self._place() if placed else ("", [])):
            if part:
                parts.append(part)
                values += some
        return " AND ".join(parts), values

    def _under(self) -> tuple[str, list[object]]:
        if not self._limits.under:
            return "", []
        names = [one for one in self._limits.under if not is_pattern(one)]
        ranges = [ends for name in names for ends in self._catalogue.paths.ranges(name)]
        parts = ["p.path >= ? AND p.path < ?"] * len(ranges)
        if len(names) < len(self._limits.under):
            parts.append("is_under(p.path)")
        return f"({' OR '.join(parts) or 'false'})", [end for ends in ranges for end in ends]

    def _time(self) -> tuple[str, list[object]]:
        limits = self._limits
        if not limits.timed:
            return "", []
        if not self._knows:
            return "false", []
        ends = [(">=", limits.after_ms), ("<", limits.before_ms)]
        parts = [f"p.taken_ms {sign} ?" for sign, end in ends if end is not None]
        return " AND ".join(parts), [end for _, end in ends if end is not None]

    def _place(self) -> tuple[str, list[object]]:
        near = self._limits.near
        if near is None:
            return "", []
        if not self._knows:
            return "false", []
        edges = [near.latitude - near.reach, near.latitude + near.reach]
        return "p.latitude BETWEEN ? AND ? AND is_near(p.latitude, p.longitude)", [*edges]
