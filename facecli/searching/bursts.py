"""Bursts: photos of one camera with the same person, each taken at most two seconds after the one before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from msgspec.structs import replace

from facecli.store.records import Moment
from facecli.types import SearchResult

LONGEST_GAP_MS = 2000


def one_a_burst(result: SearchResult, moments: Mapping[int, Moment], *, of_everyone: bool) -> SearchResult:
    """A result with the best match of each burst; `moments` are those of the matched faces, by their ids.

    Faces are of the same person where the index says so; faces that nobody has grouped yet, where they match the same
    query face. With `of_everyone`, each match stands for all people that were asked for.
    """
    sizes: dict[int, int] = {}
    for burst in _bursts(result, moments, of_everyone=of_everyone):
        sizes[min(burst)] = len({result.matches[place].digest for place in burst})
    places = sorted(sizes)
    matches = (replace(result.matches[place], rank=rank, burst=sizes[place]) for rank, place in enumerate(places, 1))
    references = tuple(result.references[place] for place in places) if result.references else ()
    return replace(result, matches=tuple(matches), references=references)


def _bursts(result: SearchResult, moments: Mapping[int, Moment], *, of_everyone: bool) -> Iterator[list[int]]:
    """The places of the matches of each burst; a photo without a time or a camera is one of its own."""
    known: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for place, match in enumerate(result.matches):
        moment = moments[match.face_id]
        if moment.taken_ms is None or not moment.camera:
            yield [place]
            continue
        query = result.references[place] if result.references else result.query
        person = moment.person_id or (query.query, query.number)
        known.setdefault((moment.camera, None if of_everyone else person), []).append((moment.taken_ms, place))
    for timed in known.values():
        yield from _near_in_time(sorted(timed))


def _near_in_time(timed: list[tuple[int, int]]) -> Iterator[list[int]]:
    """The places of (time, place) in order, parted where the next is too late."""
    burst: list[int] = []
    last = timed[0][0]
    for time, place in timed:
        if time - last > LONGEST_GAP_MS:
            yield burst
            burst = []
        burst.append(place)
        last = time
    yield burst
