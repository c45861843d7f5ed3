"""Decisions follow their faces: through an edit of a photo, and through a migration to other settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from facecli import boxes
from facecli.store.catalog.queries import Catalogue
from facecli.store.catalog.rows import as_bytes, as_int, read_boxes, read_codes
from facecli.store.errors import trusted
from facecli.store.people.reading import StoredPeople
from facecli.store.people.records import FaceKey
from facecli.store.people.standing import stand
from facecli.types import FloatArray

SAME_PLACE = 0.5
"""The least IoU of a face with one that other settings found in the same content."""
SAME_FACE = 0.6
"""The least cosine of a face with one in an edited photo; faces of two people stay far below."""
_Matched: TypeAlias = dict[int, int]


class LostDecision(Struct, frozen=True):
    """A face with a decision that was not found again."""

    path: str
    name: str
    """The person's name; empty where it has none."""


def match_places(old: FloatArray, new: FloatArray) -> _Matched:
    """Map old boxes, float32 (n, 4) in pixels, to new ones (m, 4) of the same photo: by falling IoU, each once."""
    if not len(old) or not len(new):
        return {}
    return pair_by_likeness(overlaps_of_numbers(old, new), SAME_PLACE)


def overlaps_of_numbers(first: FloatArray, second: FloatArray) -> NDArray[np.float64]:
    """Intersection over union, float64 (n, m), of boxes float32 (n, 4) and (m, 4): x1, y1, x2, y2 in pixels.

    NaN and infinity, which damaged boxes may hold, are replaced by numbers first.
    """
    return boxes.overlaps(np.nan_to_num(first.astype(np.float64)), np.nan_to_num(second.astype(np.float64)))


def match_boxes(old: Iterable[bytes], new: Iterable[bytes]) -> dict[bytes, bytes]:
    """Map the old boxes of a content to the new ones that are the same face, as `match_places` does."""
    first, second = sorted(old), sorted(new)
    return {first[i]: second[j] for i, j in match_places(read_boxes(first), read_boxes(second)).items()}


def pair_by_likeness(likeness: NDArray[np.float64], least: float) -> _Matched:
    """Pair rows with columns by falling likeness, (n, m), as long as that is at least `least`; each once."""
    found: _Matched = {}
    taken: set[int] = set()
    pairs = np.argwhere(likeness >= least)
    order = np.argsort(-likeness[pairs[:, 0], pairs[:, 1]], kind="stable")
    for i, j in pairs[order].tolist():
        if i not in found and j not in taken:
            found[i] = j
            taken.add(j)
    return found


FaceCode: TypeAlias = tuple[int, bytes]
"""The id and the embedding of a face."""


def follow_edit(connection: sqlite3.Connection, dropped: Sequence[FaceCode], added: Sequence[FaceCode]) -> None:
    """Let the decisions about faces of a photo that was edited go to the same faces as they are now."""
    size = len(added[0][1]) if added else 0
    dropped = [(face_id, code) for face_id, code in dropped if len(code) == size and _has_anchor(connection, face_id)]
    if not dropped:
        return
    before, now = (_wide([code for _, code in faces], size // 2) for faces in (dropped, added))
    for i, j in pair_by_likeness(before @ now.T, SAME_FACE).items():
        connection.execute("UPDATE anchors SET face_id = ? WHERE face_id = ?", (added[j][0], dropped[i][0]))


def _has_anchor(connection: sqlite3.Connection, face_id: int) -> bool:
    return connection.execute("SELECT 1 FROM anchors WHERE face_id = ? LIMIT 1", (face_id,)).fetchone() is not None


def _wide(codes: list[bytes], dimension: int) -> NDArray[np.float64]:
    return np.nan_to_num(read_codes(codes, dimension).astype(np.float64), posinf=0, neginf=0)


PlacedFaces: TypeAlias = dict[bytes, dict[bytes, dict[bytes, int]]]
"""For each content, for each box: the face's id at each path."""


def follow_migration(catalogue: Catalogue, old_set: int, new_set: int) -> list[LostDecision]:
    """Let groups and decisions go from the faces of one set to those of another; returns what found no face.

    Within the caller's transaction, while both sets are there.
    """
    before, after = _placed(catalogue, old_set), _placed(catalogue, new_set)
    told = _names(catalogue)
    lost: list[LostDecision] = []
    for anchor_id, digest, box in catalogue.connection.execute("SELECT anchor_id, digest, box FROM anchors").fetchall():
        faces, now = before.get(digest, {}), after.get(digest, {})
        new = match_boxes({*faces, box}, now).get(box)
        if new is None:
            catalogue.connection.execute("UPDATE anchors SET face_id = 0 WHERE anchor_id = ?", (anchor_id,))
            name = told.get((digest, box), "")
            lost += [LostDecision(catalogue.paths.unpack(path), name) for path in faces.get(box, {})]
        else:
            _replace_box(catalogue.connection, anchor_id, (digest, new, min(now[new].values())))
    _follow_members(catalogue.connection, before, after)
    return lost


def _follow_members(connection: sqlite3.Connection, before: PlacedFaces, after: PlacedFaces) -> None:
    for digest, faces in before.items():
        now = after.get(digest, {})
        for box, new in match_boxes(faces, now).items():
            pairs = [(now[new][path], face_id) for path, face_id in faces[box].items() if path in now[new]]
            connection.executemany("UPDATE members SET face_id = ? WHERE face_id = ?", pairs)


def _replace_box(connection: sqlite3.Connection, anchor_id: int, place: tuple[bytes, bytes, int]) -> None:
    query = "SELECT anchor_id FROM anchors WHERE digest = ? AND box = ? AND anchor_id != ?"
    standing = connection.execute(query, (*place[:2], anchor_id)).fetchone()
    if standing is None:
        connection.execute("UPDATE anchors SET box = ?, face_id = ? WHERE anchor_id = ?", (*place[1:], anchor_id))


def _placed(catalogue: Catalogue, set_id: int) -> PlacedFaces:
    found: PlacedFaces = {}
    query = "SELECT f.face_id, f.box, p.path, p.digest FROM faces f JOIN photos p USING (photo_id) WHERE f.set_id = ?"
    with trusted(catalogue.path):
        for face_id, box, path, digest in catalogue.connection.execute(query, (set_id,)):
            at = found.setdefault(as_bytes(digest), {}).setdefault(as_bytes(box), {})
            at[as_bytes(path)] = as_int(face_id)
    return found


def _names(catalogue: Catalogue) -> dict[FaceKey, str]:
    """The names of the people whose faces have decisions."""
    now = stand(StoredPeople(catalogue).decisions())
    return {key: now.people[claim.person_id].name for key, claim in now.claims.items() if claim.person_id in now.people}
