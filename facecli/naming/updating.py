"""Bring the groups of an index up to date: all faces are grouped anew, from faces and decisions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from msgspec import Struct

from facecli.calibrating import find_calibration
from facecli.naming.identities import hand_on
from facecli.naming.resolving import Places, Resolved, decisions_for_grouping, places_of, resolve_claims
from facecli.people.group import group
from facecli.people.grouping import Edges, Faces, People
from facecli.people.limits import limits_for
from facecli.reporting import Reporter
from facecli.store.people.reading import StoredPeople
from facecli.store.people.records import (
    Decision,
    EdgeTable,
    FaceKey,
    FaceTable,
    Grouping,
    GroupMember,
    Groups,
    PersonGroup,
    Resemblance,
)
from facecli.store.people.standing import DecidedPeople, stand


def is_stale(people: StoredPeople) -> bool:
    """Whether faces came or went, or changed, since the groups were made."""
    made = people.grouping()
    return made.generation != people.generation() and (not made.generation or made.signature != people.signature())


class Snapshot(Struct, frozen=True):
    """All that a grouping is made from."""

    table: FaceTable
    places: Places
    grouping: Grouping
    members: tuple[GroupMember, ...]
    edges: EdgeTable
    generation: int
    recogniser: str
    """The SHA-256 of the model that made the embeddings."""


def take_snapshot(people: StoredPeople) -> Snapshot:
    """Read faces, groups and edges."""
    table = people.table()
    return Snapshot(
        table,
        places_of(table),
        people.grouping(),
        tuple(people.members()),
        people.edges(),
        people.generation(),
        people.recogniser(),
    )


class Regrouped(Struct, frozen=True):
    """New groups, and what they say of the decisions."""

    groups: Groups
    edges: EdgeTable
    standing: DecidedPeople
    resolved: Resolved


class Wish(Struct, frozen=True):
    """What is asked of a grouping."""

    threshold: float | None = None
    """The similarity of a link; None for that of the last grouping or, without one, of the recogniser."""
    earlier: Mapping[FaceKey, int] = {}
    """Faces, with the people whose ids they bring back."""


def regroup(seen: Snapshot, log: Iterable[Decision], wish: Wish, report: Reporter) -> Regrouped:
    """Group all faces anew; ids are handed on.

    Raises UsageError where the limits of the recogniser are not known, see `limits_for`.
    """
    now = stand(log)
    resolved = resolve_claims(now.claims, seen.places)
    threshold = seen.grouping.threshold if wish.threshold is None else wish.threshold
    decisions = decisions_for_grouping(resolved, now, seen.members, seen.places)
    limits = limits_for(seen.recogniser, find_calibration(seen.recogniser), threshold)
    made = group(_faces(seen.table), decisions, limits, _known_edges(seen), report)
    groups: list[list[int]] = [[] for _ in made.people.owners]
    for row, face_id in zip(made.people.person.tolist(), seen.table.face_ids.tolist(), strict=True):
        if row >= 0:
            groups[row].append(face_id)
    ids, last = _ids(seen, groups, made.people, now, wish)
    last_face = int(seen.table.face_ids.max(initial=0))
    derived = Groups(
        Grouping(last, seen.generation, seen.table.signature, last_face, threshold, made.edges.least),
        _members(seen.table, made.people, ids, resolved),
        tuple(map(PersonGroup, ids, made.people.covers.tolist(), made.people.cohesion.tolist())),
        tuple(Resemblance(ids[one.person], ids[one.other], one.similarity) for one in made.people.suggestions),
    )
    edges = made.edges
    table = EdgeTable(edges.face_ids, edges.digests, edges.starts, edges.others, edges.similarities)
    return Regrouped(derived, table, now, resolved)


def _ids(
    seen: Snapshot, groups: Sequence[Sequence[int]], people: People, now: DecidedPeople, wish: Wish
) -> tuple[list[int], int]:
    """The id of each group, and the highest id that a person ever had."""
    decided = set(now.people) | set(now.joined)
    last = max([seen.grouping.last_person, *decided])
    earlier = {one.face_id: one.person_id for one in seen.members if one.person_id not in decided}
    keys = seen.places.keys.items() if wish.earlier else ()
    earlier |= {face: person for face, key in keys if (person := wish.earlier.get(key, 0)) and person not in decided}
    ids = hand_on(groups, earlier, [max(owner, 0) for owner in people.owners.tolist()], last)
    return ids, max([last, *ids])


def _members(table: FaceTable, people: People, ids: Sequence[int], resolved: Resolved) -> tuple[GroupMember, ...]:
    found = []
    rows = zip(table.face_ids.tolist(), table.keys, people.person.tolist(), people.similarity.tolist(), strict=True)
    for face_id, key, row, similarity in rows:
        if row >= 0:
            claim = resolved.claims.get(key)
            found.append(GroupMember(face_id, ids[row], similarity, decided=claim is not None and claim.decided))
    return tuple(found)


def _faces(table: FaceTable) -> Faces:
    # Half of a digest is a number that no two contents share, and that another set of photos does not change.
    contents = np.frombuffer(b"".join(digest[:8] for digest, _ in table.keys), "<i8")
    return Faces(table.face_ids, contents, table.boxes, table.scores, table.codes)


def _known_edges(seen: Snapshot) -> Edges | None:
    kept = seen.edges
    if not len(kept.face_ids):
        return None
    return Edges(kept.face_ids, kept.digests, seen.grouping.least, kept.starts, kept.others, kept.similarities)
