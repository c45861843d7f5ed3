"""Sheets of people, JSON Lines of names and faces: written by `export` and by the page, taken by `apply`.

A sheet may be older than the index: each line is about the faces that it names, and what no longer applies is told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

import msgspec
from msgspec import Struct, field

from facecli.errors import FacecliError, UsageError, quoted
from facecli.naming.editing import PeopleEditor
from facecli.naming.listing import Choice, Which, list_people
from facecli.store.people.names import read_name, same_name
from facecli.store.people.reading import StoredPeople
from facecli.store.people.records import Decision, DecisionKind, FaceKey
from facecli.store.people.standing import stand
from facecli.types import JsonValue

LONGEST_LINE = 64 << 20
"""In bytes; a person with a million faces has less."""


class SheetLine(Struct):
    """One line of a sheet."""

    person: int | None = None
    name: str | None = None
    """None leaves the name as it is, an empty one takes it away."""
    hidden: bool | None = None
    """None leaves it as it is."""
    faces: list[int] = field(default_factory=list)
    not_faces: list[int] = field(default_factory=list, name="not")
    index: str | None = None
    """The tag of the index that the sheet is of; None is taken for any."""


def sheet_records(people: StoredPeople) -> Iterator[dict[str, JsonValue]]:
    """A record for each person with faces, the largest first."""
    refused: dict[int, list[JsonValue]] = {}
    for claim in stand(people.decisions()).claims.values():
        for one in claim.not_people if claim.anchor.face_id else ():
            refused.setdefault(one, []).append(claim.anchor.face_id)
    members: dict[int, list[JsonValue]] = {}
    for member in people.members():
        members.setdefault(member.person_id, []).append(member.face_id)
    tag = people.tag()
    for person in list_people(people, Choice(Which.ALL)):
        yield {
            "person": person.person_id,
            "name": person.name,
            "hidden": person.hidden,
            "faces": members.get(person.person_id, []),
            "not": refused.get(person.person_id, []),
            "index": tag,
        }


def foreign_lines(
    editor: PeopleEditor, records: Iterable[Mapping[str, JsonValue]], keys: Mapping[int, FaceKey]
) -> list[SheetLine]:
    """The lines of another index's sheet with the ids that the faces have here; `keys` are those of its faces.

    Only people with a decision are in it, and only what was decided; a name without any face here, so that it is told.
    """
    lines = []
    for record in records:
        line = msgspec.convert(record, SheetLine)
        faces, refused = (
            [here for face in ids if (here := editor.face_of(keys.get(face))) is not None]
            for ids in (line.faces, line.not_faces)
        )
        if line.name or (faces and (line.hidden or refused)):
            lines.append(SheetLine(None, line.name, line.hidden or None, faces, refused))
    return lines


def read_sheet(lines: BinaryIO, where: str) -> list[SheetLine]:
    """The lines of a sheet; raises UsageError where one is none."""
    found = []
    for number, line in enumerate(iter(lambda: lines.readline(LONGEST_LINE + 1), b""), 1):
        if len(line) > LONGEST_LINE:
            raise UsageError("too long for a line of a sheet", f"{where}, line {number}")
        if line.strip():
            try:
                found.append(_read_line(line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise UsageError(f"not a line of a sheet ({error})", f"{where}, line {number}") from error
    return found


def _read_line(line: bytes) -> SheetLine:
    read = msgspec.json.decode(line, type=SheetLine)
    if read.person is None and not (read.faces or read.not_faces):
        raise msgspec.ValidationError("it names no person and no face")  # the answer of a search, say
    return read


class Applied(Struct, frozen=True):
    """What a sheet did."""

    decisions: int
    people: int
    """How many people were changed."""
    complaints: tuple[str, ...]
    """What no longer applies."""
    renamed: tuple[tuple[str, str], ...] = ()
    """The names that people had, each with the one that they have now, or an empty one."""


def apply_sheet(
    editor: PeopleEditor,
    lines: Iterable[SheetLine],
    *,
    yields: bool = False,
    placed: Mapping[str, Iterable[int]] | None = None,
) -> Applied:
    """Make the decisions of a sheet, as one step; with `yields`, people who have a name keep it.

    `placed` are single faces that then go to the people of these names. Raises UsageError where the sheet is of another
    index; what no longer applies is left out and told.
    """
    lines = list(lines)
    foreign = next((line for line in lines if line.index not in (None, editor.tag)), None)
    if foreign is not None:
        raise UsageError(
            "the sheet is of another index", f"tag {quoted(foreign.index)}", hint="-i DIR names the index that it is of"
        )
    work = _Applying(editor, yields=yields)
    work.free_names(lines)
    for line in lines:
        work.take(line)
    for name, faces in (placed or {}).items():
        work.place(name, faces)
    renamed = tuple(work.renamed())
    if work.decisions:
        editor.decide(work.decisions)
    return Applied(len(work.decisions), len(work.people), tuple(work.complaints), renamed)


def _title(line: SheetLine) -> str:
    """Whom a line is about, in a complaint."""
    if line.person is None:
        return line.name or "somebody without a name"
    return f"person {line.person}" + (f" ({line.name})" if line.name else "")


class _Applying:
    """Collects the decisions of a sheet."""

    def __init__(self, editor: PeopleEditor, *, yields: bool) -> None:
        self._editor, self._yields = editor, yields
        self.decisions: list[Decision] = []
        self.complaints: list[str] = []
        self.people: set[int] = set()
        self._names = {one.person_id: one.name for one in editor.standing.people.values() if one.name}
        self._hidden = {one.person_id for one in editor.standing.people.values() if one.hidden}
        self._named = {same_name(name): person for person, name in self._names.items()}
        self._joined: dict[int, int] = {}
        self._members: dict[int, list[int]] = {}
        for face_id, person in editor.members.items():
            self._members.setdefault(person, []).append(face_id)
        self._next = editor.new_person()

    def free_names(self, lines: Iterable[SheetLine]) -> None:
        """Let names that people lose by the lines be given to others: two who swap names do not become one."""
        for line in lines if not self._yields else ():
            person = self._most(line, self._editor.known(line.faces))
            before = self._names.get(person or 0)
            if before and line.name is not None and _may_replace(before, line.name):
                self._named.pop(same_name(before), None)

    def take(self, line: SheetLine) -> None:
        """Decide what one line says."""
        shown = _title(line)
        person = self._who(line, shown)
        if person is None:
            return
        for step in (self._name, self._hide, self._reject):
            try:
                step(person, line, shown)
            except FacecliError as error:
                self.complaints.append(f"{shown}: {error}")
            person = self._resolve(person)

    def place(self, name: str, faces: Iterable[int]) -> None:
        """Give single faces to the person of a name, a new one where nobody has it."""
        person = self._named.get(same_name(name))
        person = None if person is None else self._resolve(person)
        moving = self._fitting(name, self._members.get(person or 0, []), self._editor.known(faces))
        if not moving:
            return
        whose = self._editor.members
        for before in sorted({self._resolve(whose[face]) for face in moving if face in whose}):
            self._decide(before)
            self._members[before] = sorted(set(self._members[before]).difference(moving))
        if person is None:
            person, self._next = self._next, self._next + 1
            self.people.add(person)
            self._set_name(person, name)
        self._members[person] = [*self._members.get(person, ()), *moving]
        self._decide(person, Decision(DecisionKind.PLACE, person, faces=self._editor.anchors(moving)))

    def renamed(self) -> Iterator[tuple[str, str]]:
        """The names that people had before, each with the one that they have now, where that is another."""
        for one in self._editor.standing.people.values():
            now = self._names.get(self._resolve(one.person_id), "")
            if one.name and now != one.name:
                yield one.name, now

    def _fitting(self, name: str, members: list[int], faces: list[int]) -> list[int]:
        """Those of the faces that are not a person's yet, and can be; the others are told."""
        there = {anchor.digest: anchor for anchor in self._editor.anchors(members)}
        found, known = [], set(members)
        for face in faces:
            (anchor,) = self._editor.anchors([face])
            other = there.setdefault(anchor.digest, anchor)
            if other.key != anchor.key:
                twice = f"face:{other.face_id} and face:{face} are in one photo"
                self.complaints.append(f"{name}: {twice}, and would both be one person")
            elif face not in known:
                found.append(face)
        return found

    def _say(self, shown: str, faces: list[int], what: str) -> None:
        if faces:
            named = ", ".join(f"face:{face}" for face in faces[:5]) + (", …" if len(faces) > 5 else "")
            self.complaints.append(f"{shown}: {named} {what}")

    def _who(self, line: SheetLine, shown: str) -> int | None:
        """The person that most of a line's faces are now, a new one for faces of nobody that get a name."""
        known = self._editor.known(line.faces)
        self._say(shown, sorted(set(line.faces).difference(known)), "no longer in the index")
        person = self._most(line, known)
        if person is None:
            if not known and (line.faces or self._yields):
                self.complaints.append(f"{shown}: none of the faces is in the index, so the line is left out")
                return None
            return self._new(line, known, shown)
        elsewhere = [face for face in known if self._editor.members.get(face, person) != person]
        self._say(shown, elsewhere, f"belong to somebody else now, and stay there; the line is for person {person}")
        return self._resolve(person)

    def _most(self, line: SheetLine, known: list[int]) -> int | None:
        """The person that most of the known faces of a line are now; None where they are nobody's."""
        whose = Counter(self._editor.members[face] for face in known if face in self._editor.members)
        if not whose:
            return None
        best = max(whose.values())
        return line.person if whose.get(line.person or 0) == best else min(p for p, n in whose.items() if n == best)

    def _new(self, line: SheetLine, known: list[int], shown: str) -> int | None:
        if not known or not line.name:
            if line.name or line.not_faces or line.hidden:
                self.complaints.append(f"{shown}: the faces belong to nobody now, so the line is left out")
            return None
        person, self._next = self._next, self._next + 1
        self.decisions.append(Decision(DecisionKind.PLACE, person, faces=self._editor.anchors(known)))
        self.people.add(person)
        return person

    def _decide(self, person: int, *decisions: Decision) -> None:
        if person not in self.people:
            self.decisions.append(self._editor.keep(person))
            self.people.add(person)
        self.decisions += decisions

    def _resolve(self, person: int) -> int:
        while person in self._joined:
            person = self._joined[person]
        return person

    def _name(self, person: int, line: SheetLine, shown: str) -> None:
        before = self._names.get(person, "")
        if line.name is None or (line.name == "" and not before):
            return
        name = "" if line.name == "" else read_name(line.name)
        if name == before:
            return
        if before and self._yields:
            if same_name(name) != same_name(before):
                self.complaints.append(f"{shown}: person {person} is {before} here, and keeps this name")
            return
        other = self._resolve(self._named.get(same_name(name), person)) if name else person
        if other != person:
            try:
                self._join(other, person)
            except UsageError:
                self._keep_name(person, before)
                raise
            if self._yields:
                self.complaints.append(f"{shown}: person {person} is now one with person {other}, who has this name")
            return
        self._set_name(person, name)

    def _set_name(self, person: int, name: str) -> None:
        self._names[person] = name
        if name:
            self._named[same_name(name)] = person
        self._decide(person, Decision(DecisionKind.NAME, person, name))

    def _keep_name(self, person: int, name: str) -> None:
        """Leave a person the name that it was to lose, unless another line has given it away."""
        if name and self._named.setdefault(same_name(name), person) != person:
            self._set_name(person, "")

    def _join(self, person: int, other: int) -> None:
        """Two lines of one name, or a name that is there: one person."""
        faces = [face for one in (person, other) for face in self._members.get(one, ())]
        self._editor.refuse_twice(faces, self._editor.title(person))
        self._decide(person)
        self._decide(other)
        self.decisions.append(Decision(DecisionKind.JOIN, person, other=other))
        self._joined[other] = person
        self._members[person] = faces

    def _hide(self, person: int, line: SheetLine, _: str) -> None:
        if line.hidden is not None and line.hidden != (person in self._hidden):
            kind = DecisionKind.HIDE if line.hidden else DecisionKind.SHOW
            (self._hidden.add if line.hidden else self._hidden.discard)(person)
            self._decide(person, Decision(kind, person))

    def _reject(self, person: int, line: SheetLine, shown: str) -> None:
        known = self._editor.known(line.not_faces)
        self._say(shown, sorted(set(line.not_faces).difference(known)), "no longer in the index")
        claims = self._editor.standing.claims
        new = tuple(
            anchor
            for anchor in self._editor.anchors(known)
            if anchor.key not in claims or person not in claims[anchor.key].not_people
        )
        if new:
            self._decide(person, Decision(DecisionKind.REJECT, person, faces=new))


def _may_replace(before: str, name: str) -> bool:
    """Whether a text of a sheet is another name, or none."""
    try:
        return not name or same_name(read_name(name)) != same_name(before)
    except UsageError:
        return False
