"""Decide about people: every decision is made with the groups that follow from it, as a whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from facecli.errors import QueryError, StoreError, UsageError, quoted
from facecli.naming.resolving import resolve_claims
from facecli.naming.updating import Regrouped, Snapshot, Wish, is_stale, regroup, take_snapshot
from facecli.reporting import Reporter
from facecli.store.people.names import read_name, same_name
from facecli.store.people.reading import StoredPeople
from facecli.store.people.records import Anchor, Decision, DecisionKind, FaceKey, PeopleChange
from facecli.store.people.standing import DecidedPeople, stand
from facecli.store.people.writing import PeopleWriter

ABOUT_FACES = (DecisionKind.KEEP, DecisionKind.PLACE, DecisionKind.REJECT)
"""The decisions that say nothing without a face."""


class Change(Struct, frozen=True):
    """What an update changes."""

    people: int
    """How many people there are."""
    new: int
    """How many of them are new."""
    gone: int
    """How many ids are no longer in use."""
    faces: int
    """How many faces changed their person, came into one or left one."""


class PeopleEditor:
    """The people of an index that is open for writing.

    Groups that are not up to date are made anew first, so that an id means what a list would show now.
    """

    def __init__(self, people: StoredPeople, report: Reporter, wish: Wish | None = None) -> None:
        self._people, self._report = people, report
        self._seen: Snapshot = take_snapshot(people)
        self._log = people.decisions()
        # What was decided can be forgotten after the last photo is gone.
        if not len(self._seen.table.face_ids) and not self._log:
            raise StoreError(
                "the index holds no faces, and so no people", "facecli people", hint="facecli index PHOTOS"
            )
        self.standing: DecidedPeople = stand(self._log)
        self._pending: Regrouped | None = None
        before = {one.face_id: one.person_id for one in self._seen.members}
        wish = wish or Wish()
        asks = wish.threshold is not None and wish.threshold != self._seen.grouping.threshold
        if asks or is_stale(people):
            self._pending = made = regroup(self._seen, self._log, wish, report)
            # What is decided next is about these groups and ids.
            self._seen = replace(
                self._seen, members=made.groups.members, grouping=made.groups.grouping, edges=made.edges
            )
        self.members: dict[int, int] = {one.face_id: one.person_id for one in self._seen.members}
        """The person of each face that has one."""
        self._faces: dict[int, list[int]] = {}
        for face_id, person in sorted(self.members.items()):
            self._faces.setdefault(person, []).append(face_id)
        self._claims = resolve_claims(self.standing.claims, self._seen.places).claims
        self.change: Change = _compare(before, self.members)

    @property
    def tag(self) -> str:
        """What tells this index from others."""
        return self._people.tag()

    def save(self) -> None:
        """Store the groups, where they are new."""
        if self._pending is not None:
            self._change(_stored(self._pending))
            self._pending = None

    def _change(self, change: PeopleChange) -> None:
        assert isinstance(self._people, PeopleWriter)
        self._people.change(change)

    # what is there

    def find(self, asked: str) -> int:
        """The id of the person that an id or a name stands for; raises QueryError where there is none."""
        return self.standing.find(asked, frozenset(self.members.values()))

    def faces_of(self, person_id: int) -> list[int]:
        """The faces of a person, ascending by id."""
        return list(self._faces.get(person_id, ()))

    def anchors(self, face_ids: Iterable[int]) -> tuple[Anchor, ...]:
        """The anchors of faces, each face once however many copies show it; raises QueryError on an unknown one."""
        places, found = self._seen.places, {}
        for face_id in face_ids:
            if face_id not in places.keys:
                raise QueryError("no such face in the index", f"face:{quoted(face_id)}")
            key = places.keys[face_id]
            found[key] = Anchor(*key, places.ids[key])
        return tuple(found.values())

    def known(self, face_ids: Iterable[int]) -> list[int]:
        """Those of the faces that are in the index, each once."""
        return [face_id for face_id in dict.fromkeys(face_ids) if face_id in self._seen.places.keys]

    def face_of(self, key: FaceKey | None) -> int | None:
        """The lowest id of the face with a content and box; None where there is none."""
        return None if key is None else self._seen.places.ids.get(key)

    def new_person(self) -> int:
        """An id that no person ever had."""
        return max([self._seen.grouping.last_person, *self.standing.people, *self.standing.joined]) + 1

    def keep(self, person_id: int, but: Iterable[Anchor] = ()) -> Decision:
        """The decision that a person's faces stay the person's, as far as that is not decided yet.

        Every decision about a person begins with it: it is about these faces, and groups without decisions may change.
        """
        claims, out = self._claims, {anchor.key for anchor in but}
        faces = [one for one in self.anchors(self.faces_of(person_id)) if one.key not in out]
        still_open = (one for one in faces if one.key not in claims or claims[one.key].person_id != person_id)
        return Decision(DecisionKind.KEEP, person_id, faces=tuple(still_open))

    # decisions

    def name(self, person_id: int, text: str) -> None:
        """Name a person; raises UsageError where another one has the name."""
        name = read_name(text)
        self.refuse_taken(name, person_id)
        self.decide([self.keep(person_id), Decision(DecisionKind.NAME, person_id, name)])

    def refuse_taken(self, name: str, person_id: int) -> None:
        """Raise UsageError where another person has the name."""
        other = self.standing.named(name)
        if other is not None and other.person_id != person_id:
            raise UsageError(
                "another person has this name",
                f"{other.name} (person {other.person_id})",
                hint=f"facecli people merge {other.person_id} {person_id} makes them one",
            )

    def merge(self, people: Sequence[int], *, force: bool = False) -> int:
        """Make several people the first of them; returns its id."""
        if len(set(people)) < len(people) or len(people) < 2:
            raise UsageError("a person cannot be merged with itself", f"person {people[-1]}" if people else "nobody")
        first, *others = people
        if not force:
            self.refuse_twice([face for one in people for face in self.faces_of(one)], self.title(first))
        joins = [Decision(DecisionKind.JOIN, first, other=other) for other in others]
        self.decide([*map(self.keep, people), *joins])
        return first

    def split(self, person_id: int, face_ids: Sequence[int]) -> int:
        """Make some faces of a person a new person; returns its id."""
        anchors = self.own(person_id, face_ids)
        if len(anchors) == len(self.anchors(self.faces_of(person_id))):
            raise UsageError("nothing would be left of the person", self.title(person_id))
        new = self.new_person()
        self.decide(
            [
                self.keep(person_id, anchors),
                Decision(DecisionKind.REJECT, person_id, faces=anchors),
                Decision(DecisionKind.PLACE, new, faces=anchors),
            ]
        )
        return new

    def reject(self, person_id: int, face_ids: Sequence[int]) -> None:
        """Decide that faces are not this person's, for ever."""
        anchors = self.anchors(face_ids)
        self.decide([self.keep(person_id, anchors), Decision(DecisionKind.REJECT, person_id, faces=anchors)])

    def assign(self, asked: str, face_ids: Sequence[int], *, force: bool = False) -> int:
        """Decide that faces are a person's, by name or id; an unknown name makes a new person. Returns the id."""
        known = self.standing.named(asked)
        if known is not None or asked.isdecimal():
            person_id, made = self.find(asked), []
        else:
            person_id = self.new_person()
            made = [Decision(DecisionKind.NAME, person_id, read_name(asked))]
        anchors = self.anchors(face_ids)
        if not force:
            self.refuse_twice([*self.faces_of(person_id), *face_ids], self.title(person_id) if known else asked)
        # The others stay what they are: without a decision, all that look like these faces would follow them.
        left = sorted({self.members[face] for face in face_ids if face in self.members} - {person_id})
        kept = [self.keep(person_id), *(self.keep(other, anchors) for other in left)]
        self.decide([*kept, *made, Decision(DecisionKind.PLACE, person_id, faces=anchors)])
        return person_id

    def set_hidden(self, person_id: int, *, hidden: bool) -> None:
        """Hide a person from lists, or show it again."""
        kind = DecisionKind.HIDE if hidden else DecisionKind.SHOW
        self.decide([self.keep(person_id), Decision(kind, person_id)])

    def set_cover(self, person_id: int, face_id: int) -> None:
        """Choose the face that stands for a person."""
        anchors = self.own(person_id, [face_id])
        self.decide([self.keep(person_id), Decision(DecisionKind.COVER, person_id, faces=anchors)])

    # rules

    def title(self, person_id: int) -> str:
        """What a message calls a person."""
        person = self.standing.people.get(person_id)
        return person.name if person is not None and person.name else f"person {person_id}"

    def own(self, person_id: int, face_ids: Sequence[int]) -> tuple[Anchor, ...]:
        """The anchors of faces that must be the person's; raises QueryError where one is not."""
        anchors = self.anchors(face_ids)
        foreign = next((face for face in face_ids if self.members.get(face) != person_id), None)
        if foreign is not None:
            raise QueryError(f"the face is not one of {self.title(person_id)}", f"face:{foreign}")
        return anchors

    def refuse_twice(self, face_ids: Iterable[int], whose: str) -> None:
        """Raise UsageError where two of the faces are in one photo, so that they can hardly be one person."""
        seen: dict[bytes, Anchor] = {}
        for anchor in self.anchors(face_ids):
            other = seen.setdefault(anchor.digest, anchor)
            if other.key != anchor.key:
                raise UsageError(
                    f"face:{other.face_id} and face:{anchor.face_id} are in one photo, and would both be one person",
                    whose,
                    hint="--force says that it is so, as in a mirror or a collage",
                )

    # storing

    def decide(self, decisions: Sequence[Decision]) -> None:
        """Store decisions with the groups that follow from them, as one step."""
        added = tuple(one for one in decisions if one.faces or one.kind not in ABOUT_FACES)
        self._store((*self._log, *added), PeopleChange(added=added), Wish())

    def undo(self) -> tuple[Decision, ...]:
        """Take back the decisions of the last command, and return them; raises StoreError where there is none."""
        if not self._log:
            raise StoreError("nothing to undo: no decision about people is recorded", "facecli people")
        step = max(one.step for one in self._log)
        taken = tuple(one for one in self._log if one.step == step)
        kept = [one for one in taken if one.kind is DecisionKind.KEEP]
        earlier = {anchor.key: one.person_id for one in kept for anchor in one.faces}
        self._take_out(taken, Wish(earlier=earlier))
        return taken

    def forget(self, name: str) -> int:
        """Delete a name with all decisions about its person; returns their number.

        A name that the person had earlier is deleted alone. Raises QueryError where no decision has the name.
        """
        person = self.standing.named(name)
        if person is not None:
            taken = [one for one in self._log if self.standing.resolve(one.person_id) == person.person_id]
        else:
            taken = [one for one in self._log if one.name and same_name(one.name) == same_name(name)]
        if not taken:
            raise QueryError("no person has this name", name, hint=self.standing.advice(name))
        self._take_out(taken, Wish())
        return len(taken)

    def _take_out(self, taken: Sequence[Decision], wish: Wish) -> None:
        ids = {one.decision_id for one in taken}
        rest = tuple(one for one in self._log if one.decision_id not in ids)
        self._store(rest, PeopleChange(dropped=tuple(sorted(ids))), wish)

    def _store(self, log: tuple[Decision, ...], change: PeopleChange, wish: Wish) -> None:
        """Make a change; the groups are made anew where something else follows from the decisions."""
        now = stand(log)
        if self._pending is not None or now.claims != self.standing.claims:
            made = _stored(regroup(self._seen, log, wish, self._report))
            change = replace(change, anchors=made.anchors, groups=made.groups, edges=made.edges)
        self._change(change)
        self._log, self.standing, self._pending = log, now, None


def _stored(made: Regrouped) -> PeopleChange:
    return PeopleChange(anchors=made.resolved.moved, groups=made.groups, edges=made.edges)


def _compare(before: dict[int, int], after: dict[int, int]) -> Change:
    old, new = set(before.values()), set(after.values())
    moved = sum(before.get(face) != after.get(face) for face in before.keys() | after.keys())
    return Change(len(new), len(new - old), len(old - new), moved)
