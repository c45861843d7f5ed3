"""The faces that an index holds of photos, without reading the photos."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from facecli.errors import QueryError
from facecli.searching.reading import area_order
from facecli.store.reader import IndexReader
from facecli.store.records import StoredFace
from facecli.types import IndexedFace


def indexed_faces(reader: IndexReader, path: str) -> Iterator[IndexedFace]:
    """The faces of the photos at and below an absolute path, by path, then by number.

    Raises QueryError if there is no photo.
    """
    found = False
    for _, faces in reader.photos_with_faces(path):
        found = True
        yield from _numbered(reader, faces)
    if not found:
        raise QueryError("not in the index", path, hint="facecli info --photos lists the photos in it")


def _numbered(reader: IndexReader, faces: list[StoredFace]) -> Iterator[IndexedFace]:
    order = area_order(np.array([face.box for face in faces], np.float32).reshape(-1, 4))
    for number, face in enumerate((faces[row] for row in order.tolist()), 1):
        person = reader.people.person_of(face.face_id)
        yield IndexedFace(face.face_id, face.path, number, face.box, face.score, face.embedding, person)
