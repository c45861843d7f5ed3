"""Export an index: its faces or photos as records, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from facecli import __version__
from facecli.captures import Capture
from facecli.exports import PHOTO_FIELDS, ExportedPhoto, ExportTable, face_fields
from facecli.limits import PhotoLimits
from facecli.store.reader import IndexReader
from facecli.store.records import StoredPhoto

COORDINATES = "boxes are x1, y1, x2, y2 and landmarks x, y in pixels of the upright photo"


class ExportRequest(Struct, frozen=True):
    """What is exported."""

    photos: bool = False
    """Photos rather than faces."""
    person: str | None = None
    """The id or the name of the only person whose faces, or photos, are exported."""
    limits: PhotoLimits = PhotoLimits()
    embeddings: bool = True


class Export:
    """An export of an index that is open for reading."""

    def __init__(self, reader: IndexReader, request: ExportRequest) -> None:
        """Raises QueryError if there is no such person."""
        self._reader, self._request = reader, request
        people = reader.people
        self._standing = people.standing()
        self._person = None
        if request.person is not None:
            self._person = people.find(request.person.removeprefix("person:"))

    @property
    def table(self) -> ExportTable:
        """The fields of the records, and what the export says of itself."""
        info = self._reader.info
        kind = info.fingerprint
        about = {
            "facecli": __version__,
            "model": kind.model,
            "detector_sha256": kind.detector_sha256,
            "recogniser_sha256": kind.recogniser_sha256,
            "licence": info.licence,
            "dimension": str(kind.dimension),
            "metric": str(kind.metric),
            "generation": str(info.generation),
            "coordinates": COORDINATES,
        }
        if self._request.photos:
            return ExportTable(PHOTO_FIELDS, about)
        return ExportTable(face_fields(kind.dimension if self._request.embeddings else 0), about)

    def records(self) -> Iterator[Any]:
        """ExportedPhoto by path, or ExportedFace by id."""
        if self._request.photos:
            allowed = self._photos_of_person()
            photos = self._reader.photos_within(self._request.limits)
            return (_exported(photo) for photo in photos if allowed is None or photo.photo_id in allowed)
        names = {number: person.name for number, person in self._standing.people.items() if person.name}
        selection = self._reader.selection(self._request.limits)
        return selection.exported_faces(self._person, names, embeddings=self._request.embeddings)

    def _photos_of_person(self) -> set[int] | None:
        if self._person is None:
            return None
        return self._reader.people.photos(self._person)


def _exported(photo: StoredPhoto) -> ExportedPhoto:
    capture = photo.capture or Capture()
    return ExportedPhoto(photo.photo_id, photo.file.path, photo.digest, photo.width, photo.height, capture, photo.faces)
