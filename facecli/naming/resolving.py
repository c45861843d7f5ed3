"""Find the faces that decisions are about among the faces of the index, and hand them to the grouping."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from facecli.people.grouping import Decisions
from facecli.store.people.following import match_boxes
from facecli.store.people.records import Anchor, FaceKey, FaceTable, GroupMember
from facecli.store.people.standing import DecidedPeople, FaceClaim


class Places(Struct, frozen=True):
    """Where the faces of an index are."""

    ids: dict[FaceKey, int]
    """The lowest id of each face and its copies."""
    keys: dict[int, FaceKey]
    boxes: dict[bytes, list[bytes]]
    """The boxes in each content."""


def places_of(table: FaceTable) -> Places:
    """Index the faces of a table by key, id and content."""
    found = Places({}, {}, {})
    for face_id, key in zip(table.face_ids.tolist(), table.keys, strict=True):
        found.keys[face_id] = key
        if key not in found.ids:
            found.ids[key] = face_id
            found.boxes.setdefault(key[0], []).append(key[1])
    return found


class Resolved(Struct, frozen=True):
    """The claims on faces that are in the index."""

    claims: dict[FaceKey, FaceClaim] = field(default_factory=dict)
    moved: tuple[tuple[FaceKey, Anchor], ...] = ()
    """The anchors whose face has another content, box or id now, each with its earlier key."""


def resolve_claims(claims: Mapping[FaceKey, FaceClaim], places: Places) -> Resolved:
    """Find the face of each claim by content and box, else by its id, else by the place in the content."""
    found: dict[FaceKey, FaceClaim] = {}
    moved: list[tuple[FaceKey, Anchor]] = []
    for key, claim in claims.items():
        here = key if key in places.ids else _find(claim.anchor, places)
        if here is None or here in found:
            continue
        found[here] = claim
        anchor = Anchor(*here, places.ids[here])
        if anchor != claim.anchor:
            moved.append((key, anchor))
    return Resolved(found, tuple(moved))


def _find(anchor: Anchor, places: Places) -> FaceKey | None:
    if anchor.face_id in places.keys:
        return places.keys[anchor.face_id]
    box = match_boxes([anchor.box], places.boxes.get(anchor.digest, ())).get(anchor.box)
    return None if box is None else (anchor.digest, box)


def decisions_for_grouping(
    resolved: Resolved, now: DecidedPeople, members: Iterable[GroupMember], places: Places
) -> Decisions:
    """What the grouping must respect.

    A person with decisions none of whose faces is in the index any more keeps the faces that were found since.
    """
    owners = {places.ids[key]: claim.person_id for key, claim in resolved.claims.items() if claim.person_id}
    refused = [
        (places.ids[key], person) for key, claim in resolved.claims.items() for person in sorted(claim.not_people)
    ]
    bereft = set(now.people) - set(owners.values())
    for member in members:
        if member.person_id in bereft and member.face_id in places.keys:
            face_id = places.ids[places.keys[member.face_id]]
            if (face_id, member.person_id) not in refused:
                owners.setdefault(face_id, member.person_id)
    return Decisions(tuple(sorted(owners.items())), tuple(sorted(refused)))
