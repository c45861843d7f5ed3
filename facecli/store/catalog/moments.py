"""Read when, with what camera, and of whom faces were taken."""

from __future__ import annotations

from collections.abc import Sequence

from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_int, read_capture
from facecli.store.errors import trusted
from facecli.store.records import Moment


def read_moments(catalogue: Catalogue, face_ids: Sequence[int]) -> dict[int, Moment]:
    """The moment of each face, by its id."""
    query = (
        f"SELECT f.face_id, {catalogue.person_column}, {catalogue.capture_columns} "
        "FROM faces f JOIN photos p USING (photo_id) WHERE f.face_id IN ?"
    )
    found: dict[int, Moment] = {}
    for rows in catalogue.rows_in(query, face_ids):
        with trusted(catalogue.path):
            found |= {as_int(face_id): _moment(person_id, capture) for face_id, person_id, *capture in rows}
    return found


def _moment(person_id: object, stored: Sequence[object]) -> Moment:
    number = None if person_id is None else as_int(person_id)
    capture = read_capture(stored)
    if capture is None:
        return Moment(None, "", number)
    return Moment(capture.taken_ms, f"{capture.make}\0{capture.model}".strip("\0"), number)
