"""Photos that show every one of several queries."""

from __future__ import annotations

from collections.abc import Sequence

from facecli.types import Match


def photos_of_everyone(found: Sequence[Sequence[Match]]) -> list[list[Match]]:
    """For each photo that shows all queries, a face for each query, all different: by falling least similarity.

    `found` holds the matches of each query, by face.
    """
    photos: dict[str, list[dict[int, Match]]] = {}
    for number, matches in enumerate(found):
        for match in matches:
            photos.setdefault(match.path, [{} for _ in found])[number][match.face_id] = match
    complete = (_assign(faces) for faces in photos.values() if all(faces))
    chosen = [pairs for pairs in complete if pairs is not None]
    return sorted(chosen, key=lambda faces: (-min(one.similarity for one in faces), faces[0].path))


def _assign(faces: Sequence[dict[int, Match]]) -> list[Match] | None:
    """A face of its own for each query, the best first; None where there are too few different ones.

    Augmenting paths, as in Kuhn's algorithm for bipartite matching.
    """
    holder: dict[int, int] = {}

    def place(query: int, tried: set[int]) -> bool:
        for face in sorted(faces[query], key=lambda face: (-faces[query][face].similarity, face)):
            if face not in tried:
                tried.add(face)
                if face not in holder or place(holder[face], tried):
                    holder[face] = query
                    return True
        return False

    if not all(place(query, set()) for query in range(len(faces))):
        return None
    by_query = {query: face for face, query in holder.items()}
    return [faces[query][by_query[query]] for query in range(len(faces))]
