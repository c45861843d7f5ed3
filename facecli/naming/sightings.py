"""Names that were seen at faces, as in sidecars: most faces of a person name all of it, the others only themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec.structs import replace

from facecli.errors import UsageError
from facecli.naming.editing import PeopleEditor
from facecli.naming.sheets import Applied, SheetLine, apply_sheet
from facecli.store.people.names import read_name, same_name

Votes = dict[str, list[int]]
"""The faces at which each name was seen; what counts as the same name is one."""


def apply_sightings(editor: PeopleEditor, seen: Mapping[str, Sequence[int]]) -> Applied:
    """Name people by the faces at which names were seen, as one step.

    A person gets the name that was seen at most of its faces. A face with another name goes to whom that name is of,
    alone: it was given to the face, and the person may be named rightly. A face with two names gets none.
    """
    spelled: dict[str, str] = {}
    names: dict[int, set[str]] = {}
    complaints = []
    for text, faces in sorted(seen.items()):
        try:
            name = read_name(text)
        except UsageError as error:
            complaints.append(f"{error} ({error.hint})")
            continue
        spelled.setdefault(same_name(name), name)
        for face in faces:
            names.setdefault(face, set()).add(same_name(name))
    complaints += [
        f"face:{face} has more than one name: {', '.join(sorted(spelled[one] for one in them))}"
        for face, them in sorted(names.items())
        if len(them) > 1
    ]
    # The spelling that is known stays.
    spelled |= {same_name(one.name): one.name for one in editor.standing.people.values() if one.name}
    lines, placed = _shared_out(editor, _votes(editor, names))
    done = apply_sheet(
        editor,
        [SheetLine(person, spelled[one], faces=faces) for person, one, faces in lines],
        placed={spelled[one]: faces for one, faces in placed.items()},
    )
    return replace(done, complaints=(*complaints, *done.complaints))


def _votes(editor: PeopleEditor, names: Mapping[int, set[str]]) -> dict[int, Votes]:
    """The faces of each person by their names; of nobody under 0."""
    found: dict[int, Votes] = {}
    for face, them in sorted(names.items()):
        if len(them) == 1:
            found.setdefault(editor.members.get(face, 0), {}).setdefault(min(them), []).append(face)
    return found


def _shared_out(editor: PeopleEditor, votes: Mapping[int, Votes]) -> tuple[list[tuple[int, str, list[int]]], Votes]:
    """The people who get a name, with the faces that have it, and single faces by the names of others."""
    lines, single = [], Votes()
    owners = {same_name(one.name): person for person, one in editor.standing.people.items() if one.name}
    known = {person: name for name, person in owners.items()}
    for person, by_name in sorted(votes.items()):
        best = _most(by_name, known.get(person, "")) if person else None
        if best in owners and person in known:
            best = _most(_with_unseen(by_name, known[person], editor.faces_of(person)), known[person])
        for one, faces in sorted(by_name.items()):
            if one == best:
                lines.append((person, one, faces))
            else:
                single.setdefault(one, []).extend(faces)
    return lines, single


def _with_unseen(votes: Votes, known: str, faces: Sequence[int]) -> Votes:
    """The faces of a person by their names, at which none was seen by the name that the person has.

    They count where the name most seen is another person's: a single one must not make two people with names one.
    """
    seen = {face for them in votes.values() for face in them}
    return votes | {known: [*votes.get(known, ()), *(face for face in faces if face not in seen)]}


def _most(votes: Votes, known: str) -> str:
    """The name at most faces; of several, the one that the person has, else the first."""
    return min(votes, key=lambda one: (-len(votes[one]), one != known, one))
