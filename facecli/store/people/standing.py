"""What decisions about people come to: the log, replayed from its beginning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from facecli.config import whole_number
from facecli.errors import QueryError, quoted
from facecli.store.people.names import same_name
from facecli.store.people.records import Anchor, Decision, DecisionKind, FaceKey

MOST_NAMED = 3
"""How many people are named to somebody who asked for nobody."""
LARGEST_PERSON = (1 << 40) - 1


class Person(Struct):
    """A person about whom there is a decision."""

    person_id: int
    name: str = ""
    hidden: bool = False
    cover: FaceKey | None = None


class FaceClaim(Struct):
    """What the decisions say about one face."""

    anchor: Anchor
    person_id: int = 0
    """Whose it is; 0 where that is open."""
    decided: bool = False
    """Whether somebody put it there, rather than found it there."""
    not_people: set[int] = field(default_factory=set)
    """The people that it is not."""


class DecidedPeople(Struct):
    """People and claims as they stand."""

    people: dict[int, Person] = field(default_factory=dict)
    claims: dict[FaceKey, FaceClaim] = field(default_factory=dict)
    joined: dict[int, int] = field(default_factory=dict)
    """People that were merged into others."""

    def resolve(self, person_id: int) -> int:
        """The person that an id stands for today."""
        while person_id in self.joined:
            person_id = self.joined[person_id]
        return person_id

    def named(self, name: str) -> Person | None:
        """The person of a name; upper and lower case are not told apart."""
        wanted = same_name(name)
        return next(
            (person for person in self.people.values() if person.name and same_name(person.name) == wanted), None
        )

    def find(self, asked: str, known: Mapping[int, object] | frozenset[int]) -> int:
        """The id of the person that an id or a name stands for; raises QueryError where there is none.

        `known` holds the ids of all people that have faces.
        """
        number = whole_number(asked, LARGEST_PERSON)
        if number is not None:
            person_id = self.resolve(number)
            if person_id in known or person_id in self.people:
                return person_id
        else:
            person = self.named(asked)
            if person is not None:
                return person.person_id
        raise QueryError("no such person in the index", quoted(asked), hint=self.advice(asked))

    def advice(self, asked: str) -> str:
        """What somebody who asked for nobody may have meant."""
        import difflib  # noqa: PLC0415 (rare)

        names = {same_name(person.name): person.name for person in self.people.values() if person.name}
        wanted = same_name(asked)
        near = [one for one in names if wanted and wanted in one] or difflib.get_close_matches(wanted, names, n=1)
        meant = " or ".join(names[one] for one in sorted(near)[:MOST_NAMED])
        return (f"did you mean {meant}? " if meant else "") + "facecli people --all lists everybody"


def stand(log: Iterable[Decision]) -> DecidedPeople:
    """Replay decisions, oldest first."""
    now = DecidedPeople()
    for decision in log:
        _apply(now, decision)
    return now


def _apply(now: DecidedPeople, decision: Decision) -> None:
    person_id = now.resolve(decision.person_id)
    person = now.people.setdefault(person_id, Person(person_id))
    match decision.kind:
        case DecisionKind.NAME:
            person.name = decision.name
        case DecisionKind.HIDE | DecisionKind.SHOW:
            person.hidden = decision.kind is DecisionKind.HIDE
        case DecisionKind.COVER:
            person.cover = decision.faces[0].key if decision.faces else None
        case DecisionKind.JOIN:
            _join(now, person, now.resolve(decision.other))
        case DecisionKind.KEEP | DecisionKind.PLACE:
            for anchor in decision.faces:
                _claim(now, anchor, person_id, decided=decision.kind is DecisionKind.PLACE)
        case DecisionKind.REJECT:
            for anchor in decision.faces:
                _reject(now, anchor, person_id)


def _join(now: DecidedPeople, person: Person, other: int) -> None:
    """Make another person this one; the first one's name stays, where it has one."""
    if other == person.person_id:
        return
    gone = now.people.pop(other, Person(other))
    now.joined[other] = person.person_id
    person.name = person.name or gone.name
    person.cover = person.cover or gone.cover
    person.hidden = person.hidden and gone.hidden
    for claim in now.claims.values():
        if claim.person_id == other:
            claim.person_id = person.person_id
        if other in claim.not_people:
            claim.not_people = (claim.not_people - {other}) | {person.person_id}
        if claim.person_id == person.person_id:
            claim.not_people.discard(person.person_id)  # said later: all of both are one


def _claim(now: DecidedPeople, anchor: Anchor, person_id: int, *, decided: bool) -> None:
    claim = now.claims.setdefault(anchor.key, FaceClaim(anchor))
    claim.person_id, claim.decided = person_id, decided or (claim.decided and claim.person_id == person_id)
    claim.not_people.discard(person_id)


def _reject(now: DecidedPeople, anchor: Anchor, person_id: int) -> None:
    claim = now.claims.setdefault(anchor.key, FaceClaim(anchor))
    if claim.person_id == person_id:
        claim.person_id, claim.decided = 0, False
    claim.not_people.add(person_id)
