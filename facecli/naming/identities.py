"""Hand the ids of people on from one grouping to the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence


def hand_on(groups: Sequence[Sequence[int]], earlier: Mapping[int, int], owners: Sequence[int], last: int) -> list[int]:
    """The id of each group of faces.

    `groups` holds face ids, `earlier` the person that each face had, `owners` the id that decisions give to a group, 0
    for none. Other groups get the id of the person with whom they share the most faces, each id once; the rest get
    new ids from `last` + 1 on, in the order of the groups.
    """
    ids = list(owners)
    taken: set[int] = {owner for owner in owners if owner}
    for _, person, row in _overlaps(groups, earlier, ids, taken):
        if not ids[row] and person not in taken:
            ids[row] = person
            taken.add(person)
    for row, person in enumerate(ids):
        if not person:
            last += 1
            ids[row] = last
    return ids


def _overlaps(
    groups: Sequence[Sequence[int]], earlier: Mapping[int, int], owners: Sequence[int], taken: Collection[int]
) -> list[tuple[int, int, int]]:
    """For each pair of a free group and an earlier person: the shared faces (negative), the person, the group."""
    found = []
    for row, faces in enumerate(groups):
        if owners[row]:
            continue
        shared = Counter(earlier[face] for face in faces if face in earlier)
        found += [(-count, person, row) for person, count in shared.items() if person not in taken]
    return sorted(found)
