"""`people --html`: people as an HTML page that takes names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from facecli.cli.context import path_style
from facecli.cli.html_page import check_page
from facecli.cli.streaming import is_stdout, takes_stream, write_into
from facecli.config import ReadOptions
from facecli.errors import PhotoError
from facecli.naming.listing import faces_of
from facecli.output.paths import printable_path
from facecli.output.people_page import PeopleSheet, ShownFace, ShownPerson, people_page
from facecli.output.placing import replace_file
from facecli.photos.recorded import Recorded
from facecli.reporting import counting
from facecli.searching.thumbnails import PictureTask, make_pictures
from facecli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from facecli.cli.console import Console
    from facecli.cli.options import Common
    from facecli.persons import PersonFace, PersonInfo
    from facecli.store.people.reading import StoredPeople
    from facecli.store.reader import IndexReader

DOUBTFUL = ((200, 6), (1000, 4), (2500, 2))
"""The number of faces shown beside the cover, for up to a number of people: (people, faces)."""
FEWEST = 1


class PeoplePage:
    """The page of one list of people."""

    def __init__(self, file: str, common: Common, console: Console) -> None:
        check_page(file)
        self._file, self._console, self._style = file, console, path_style(common)

    @property
    def takes_stdout(self) -> bool:
        """Whether the page goes to stdout, which can't hold the list, too."""
        return is_stdout(self._file)

    def make(self, reader: IndexReader, people: Sequence[PersonInfo], within: StoredPeople) -> None:
        """Write the page, with faces from some photos; what is decided on it is about all faces of a person."""
        faces, every = _by_person(within, people), _by_person(reader.people, people)
        listed = [person for person in people if person.person_id in faces]
        chosen = {person.person_id: _choose(person, faces[person.person_id], len(listed)) for person in listed}
        pictures = self._pictures([face for some in chosen.values() for face in some])
        shown = (self._person(one, chosen[one.person_id], every[one.person_id], pictures) for one in listed)
        names = sorted({one.name for one in reader.people.standing().people.values() if one.name})
        place = printable_path(str(reader.directory))
        pieces = people_page(PeopleSheet(shown, len(listed), names, reader.people.tag(), place))
        encoded = (piece.encode() for piece in pieces)
        if takes_stream(self._file):
            write_into(self._file, encoded)
            return
        replace_file(self._file, encoded)
        self._console.warn(f"wrote {self._file}: {counted(len(listed), 'person')}")

    def _pictures(self, faces: Sequence[PersonFace]) -> dict[int, bytes | str]:
        """The picture of each face by its id, or why there is none; each photo is read once."""
        by_photo: dict[Recorded, list[PersonFace]] = {}
        for face in faces:
            by_photo.setdefault(Recorded(face.file, face.key[0]), []).append(face)
        tasks = [PictureTask(photo, tuple(face.box for face in some)) for photo, some in by_photo.items()]
        found: dict[int, bytes | str] = {}
        with counting(self._console, "photos", len(tasks)):
            for some, made in zip(by_photo.values(), make_pictures(tasks, ReadOptions()), strict=True):
                for number, face in enumerate(some):
                    found[face.face_id] = made.what if isinstance(made, PhotoError) else made.faces[number]
                self._console.advance(1)
        return found

    def _person(
        self,
        person: PersonInfo,
        chosen: Sequence[PersonFace],
        faces: Sequence[PersonFace],
        pictures: Mapping[int, bytes | str],
    ) -> ShownPerson:
        cover, *doubtful = (self._face(face, pictures[face.face_id]) for face in chosen)
        return ShownPerson(person, cover, tuple(doubtful), tuple(face.face_id for face in faces))

    def _face(self, face: PersonFace, picture: bytes | str) -> ShownFace:
        path = printable_path(self._style.show(face.path))
        if isinstance(picture, str):
            return ShownFace(face, path, b"", picture)
        return ShownFace(face, path, picture)


def _by_person(stored: StoredPeople, people: Sequence[PersonInfo]) -> dict[int, list[PersonFace]]:
    found: dict[int, list[PersonFace]] = {}
    for person, face in faces_of(stored, people):
        found.setdefault(person.person_id, []).append(face)
    return found


def _choose(person: PersonInfo, faces: Sequence[PersonFace], people: int) -> list[PersonFace]:
    """The cover, and the least typical other faces, the least typical first; copies of a face once."""
    many = next((count for most, count in DOUBTFUL if people <= most), FEWEST)
    once: dict[tuple[bytes, bytes], PersonFace] = {}
    for face in faces:
        once.setdefault(face.key, face)
    cover = next((face for face in faces if face.face_id == person.cover), faces[0])
    others = [face for face in reversed(once.values()) if face.key != cover.key]
    return [cover, *others[:many]]
