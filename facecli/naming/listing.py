"""List people, with what is decided about them and what follows from their faces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum

from msgspec import Struct

from facecli.config import BOUNDS
from facecli.errors import UsageError, quoted
from facecli.persons import AlikePeople, PersonFace, PersonInfo
from facecli.store.people.reading import StoredPeople
from facecli.store.people.records import FaceKey
from facecli.store.people.standing import Person

FEW_PHOTOS = 3
"""People without a name are listed from this number of photos on: most others are passers-by."""


class Which(StrEnum):
    """The people of a list."""

    SHOWN = "shown"
    NAMED = "named"
    UNNAMED = "unnamed"
    HIDDEN = "hidden"
    ALL = "all"


class Choice(Struct, frozen=True):
    """The people that are asked for."""

    which: Which = Which.SHOWN
    min_photos: int | None = None
    """The least number of photos; None for FEW_PHOTOS for people without a name in lists of shown ones, else 0."""

    def __post_init__(self) -> None:
        if not isinstance(self.which, str) or self.which not in list(Which):
            raise UsageError(f"which people is one of {', '.join(Which)}", quoted(self.which))
        if self.min_photos is not None and not BOUNDS["min_photos"].hold(self.min_photos):
            raise UsageError(f"min_photos is {BOUNDS['min_photos']}", quoted(self.min_photos))

    def takes(self, person: PersonInfo, photos: int) -> bool:
        """Whether a person is asked for, who is in so many photos of the whole index."""
        match self.which:
            case Which.SHOWN:
                right = not person.hidden and person.faces > 0
            case Which.NAMED:
                right = person.name is not None and not person.hidden
            case Which.UNNAMED:
                right = person.name is None and not person.hidden
            case Which.HIDDEN:
                right = person.hidden
            case Which.ALL:
                right = True
        if self.min_photos is not None:
            return right and person.photos >= self.min_photos
        few = person.name is None and self.which in (Which.SHOWN, Which.UNNAMED)
        return right and (not few or photos >= FEW_PHOTOS)


def list_people(
    people: StoredPeople, choice: Choice | None = None, within: StoredPeople | None = None
) -> list[PersonInfo]:
    """The people that are asked for, by falling number of faces, then by id.

    `within` are the people of some photos: then only these are listed, with what is counted there.
    """
    choice = choice or Choice()
    now, everywhere = people.standing(), people.counts()
    counts, times = (everywhere, people.times()) if within is None else (within.counts(), within.times())
    groups = {one.person_id: one for one in people.persons()}
    chosen = _covers(people, now.people.values())
    found = []
    for person_id in sorted(people.ids() if within is None else counts.keys()):
        known, group = now.people.get(person_id, Person(person_id)), groups.get(person_id)
        faces, photos = counts.get(person_id, (0, 0))
        cover = chosen.get(person_id, group.cover if group is not None and faces else None)
        found.append(
            PersonInfo(
                person_id,
                known.name or None,
                known.hidden,
                faces,
                photos,
                cover,
                round(group.cohesion, 4) if group is not None and faces else 0.0,
                *times.get(person_id, ()),
            )
        )
    taken = (one for one in found if choice.takes(one, everywhere.get(one.person_id, (0, 0))[1]))
    return sorted(taken, key=lambda one: (-one.faces, one.person_id))


def _covers(people: StoredPeople, decided: Iterable[Person]) -> dict[int, int]:
    """The chosen covers that are faces of their person now."""
    wanted: dict[int, FaceKey] = {one.person_id: one.cover for one in decided if one.cover is not None}
    found: dict[int, int] = {}
    for face in people.faces(list(wanted)):
        if face.key == wanted[face.person_id]:
            found.setdefault(face.person_id, face.face_id)
    return found


def list_suggestions(people: StoredPeople) -> list[AlikePeople]:
    """Pairs of shown people who may be one, the most similar first."""
    known = {one.person_id: one for one in list_people(people, Choice(Which.ALL)) if not one.hidden}
    return [
        AlikePeople(known[one.person_id], known[one.other], one.similarity)
        for one in people.suggestions()
        if {one.person_id, one.other} <= known.keys()
    ]


def faces_of(people: StoredPeople, chosen: Sequence[PersonInfo]) -> list[tuple[PersonInfo, PersonFace]]:
    """The faces of people, in the order of the people, the most similar first."""
    known = {one.person_id: one for one in chosen}
    found: dict[int, list[PersonFace]] = {one.person_id: [] for one in chosen}
    everyone = len(chosen) > 50  # then one query for all is faster
    for face in people.faces(None if everyone else list(known)):
        if face.person_id in known:
            found[face.person_id].append(face)
    return [(known[person_id], face) for person_id, faces in found.items() for face in faces]
