"""The log of decisions about people, read and checked; an index made before there were people holds none."""

from __future__ import annotations

from collections.abc import Callable

from facecli.errors import IndexDamaged
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import DIGEST_SIZE, as_bytes, as_int, read_box
from facecli.store.catalog.schema import PEOPLE_FROM
from facecli.store.catalog.sets import Row
from facecli.store.errors import trusted
from facecli.store.people.names import is_name
from facecli.store.people.records import Anchor, Decision, DecisionKind
from facecli.store.people.standing import DecidedPeople, stand

MOST_PEOPLE = 1 << 40
_DECISIONS = "SELECT decision_id, kind, person_id, name, other, step, time_ns FROM decisions"
_ABOUT_PEOPLE = f"{_DECISIONS} WHERE kind IN ('name', 'hide', 'show', 'cover', 'join') ORDER BY decision_id"
_ANCHORS = (
    "SELECT d.decision_id, a.digest, a.box, a.face_id FROM decided d JOIN anchors a USING (anchor_id) "
    "ORDER BY d.decision_id, a.digest, a.box"
)
_COVERS = _ANCHORS.replace("ORDER BY", "JOIN decisions s USING (decision_id) WHERE s.kind = 'cover' ORDER BY")


class DecisionLog:
    """Decisions as an index holds them."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    @property
    def exists(self) -> bool:
        """Whether the catalogue has tables of people."""
        return self._catalogue.version >= PEOPLE_FROM

    def decisions(self) -> tuple[Decision, ...]:
        """The log of decisions, oldest first, each with its faces."""
        return self._log(f"{_DECISIONS} ORDER BY decision_id", _ANCHORS)

    def standing(self) -> DecidedPeople:
        """Names, covers and hidden people as they stand; without what is decided about their faces."""
        return stand(self._log(_ABOUT_PEOPLE, _COVERS))

    def _log(self, decisions: str, faces: str) -> tuple[Decision, ...]:
        if not self.exists:
            return ()
        anchors: dict[int, list[Anchor]] = {}
        with self._catalogue.steady(), trusted(self._catalogue.path):
            for decision_id, *anchor in self._catalogue.rows(faces):
                anchors.setdefault(as_int(decision_id), []).append(_anchor(*anchor))
            rows = self._catalogue.rows(decisions)
            return tuple(_decision(row, tuple(anchors.get(as_int(row[0]), ()))) for row in rows)

    def unreadable(self) -> dict[str, list[tuple[int]]]:
        """The tables of decisions, each with the rows that cannot be read."""
        anchors = self._catalogue.rows("SELECT anchor_id, digest, box, face_id FROM anchors")
        return {
            "decisions": [(row[0],) for row in self._catalogue.rows(_DECISIONS) if _fails(_decision, row, ())],  # type: ignore[misc]
            "anchors": [(row[0],) for row in anchors if _fails(_anchor, *row[1:])],  # type: ignore[misc]
        }


def _fails(read: Callable[..., object], *values: object) -> bool:
    try:
        with trusted(""):
            read(*values)
    except IndexDamaged:
        return True
    return False


def _decision(row: Row, faces: tuple[Anchor, ...]) -> Decision:
    decision_id, kind, person_id, name, other, step, time_ns = row
    numbers = as_int(person_id), as_int(other)
    if not all(0 <= number < MOST_PEOPLE for number in numbers) or not isinstance(name, str):
        raise ValueError("not a decision")
    if name and not is_name(name):
        raise ValueError("not a name")
    made = as_int(step), as_int(time_ns), as_int(decision_id)
    return Decision(DecisionKind(str(kind)), numbers[0], name, numbers[1], faces, *made)


def _anchor(digest: object, box: object, face_id: object) -> Anchor:
    read_box(as_bytes(box))
    if len(as_bytes(digest)) != DIGEST_SIZE:
        raise ValueError("not a digest")
    return Anchor(as_bytes(digest), as_bytes(box), as_int(face_id))
