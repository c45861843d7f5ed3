"""Search an index: find the faces of the queries, combine them into blocks, and match each block."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from facecli.calibrating import find_calibration
from facecli.config import By, Combine, SearchOptions
from facecli.errors import FacecliError, UsageError
from facecli.reporting import SilentReporter, counting
from facecli.searching.bursts import one_a_burst
from facecli.searching.combining import Block, combine_faces, match_everyone, merge_matches
from facecli.searching.gathering import Gathered, Gathering, QueryFailure, Surroundings, check_stdin
from facecli.searching.people_queries import matches_of_person
from facecli.searching.query_parser import Query
from facecli.store.reader import IndexReader
from facecli.store.records import Labels, Scope
from facecli.thresholds import Threshold, choose_threshold, confidence_scale
from facecli.types import Match, QueryFace, SearchResult
from facecli.wording import counted

if TYPE_CHECKING:  # see gathering
    from facecli.searching.reading import QueryPhoto

MANY = 10
"""The number of queries from which on progress is reported."""
TOGETHER, MOST_TOGETHER = 64, 1024
"""The most queries that are compared with the index at once: many only where they come fast and have few matches. The
first is answered alone, then GROWTH times as many each time: the first rows come at once, and many share a scan."""
GROWTH = 8
MOST_MATCHES = 1 << 17
"""The most matches that are held at once, but for those of a single query."""
FAST_SECONDS = 0.5
"""In which queries come fast: faces and people of the index do, photos mostly don't."""
MOST_COUNTED = 10_000
"""Matches beyond this number are not counted."""
OTHER_VERSION = "search with the facecli that made it, or let `facecli index --migrate` embed everything again"

NamedQuery: TypeAlias = str | os.PathLike[str] | Query
"""A query as typed, or already parsed."""
Answered: TypeAlias = SearchResult | QueryFailure


class SearchAnswer(Struct, frozen=True, eq=False):
    """The results of a search, all together."""

    results: tuple[SearchResult, ...]
    failures: tuple[FacecliError, ...]
    """The error of each failed query, in order."""
    threshold: Threshold
    photos: tuple[QueryPhoto, ...]
    """The query photos that were used, in order."""
    used_first_pass: bool = False
    """Whether a first pass by short codes left out most faces of any answer."""
    searched: str = ""
    """What the queries were compared with, in words."""


class IndexSearch:
    """A search of one index: its threshold, and the answers to queries."""

    def __init__(
        self, reader: IndexReader, options: SearchOptions | None = None, around: Surroundings | None = None
    ) -> None:
        """Choose the threshold.

        Without `around`, the working directory and stdin of the process are used, and nothing is reported. Raises
        UsageError if options contradict each other, and IndexMismatch if this version cannot search the index.
        """
        self._reader, self._options = reader, options or SearchOptions()
        self._around = around or Surroundings(os.getcwd(), sys.stdin.buffer, SilentReporter())
        if self._options.combine is Combine.MEAN and self._options.face == "all":
            raise UsageError(
                "a mean needs exactly one face of each reference",
                "--combine mean --face all",
                hint="--face largest, or --combine any",
            )
        if self._options.bursts and self._options.by is By.FACE:
            raise UsageError("bursts are of photos", "--bursts --by face", hint="--by photo")
        made_with = reader.info.fingerprint
        made_with.ask_same(made_with.as_made_here(), reader.info.directory, OTHER_VERSION)
        self.selected = reader.select(self._options.limits) if self._options.limits else None
        """The faces that the limits allow; None if there are none."""
        # By the whole index also within limits, which so never show a match that a search without them does not.
        calibration = find_calibration(made_with.recogniser_sha256)
        self.threshold = choose_threshold(self._options.threshold, calibration, reader.info.faces)
        self._scale = None if calibration is None else confidence_scale(calibration, reader.info.faces)
        self._gathering = Gathering(reader, self._options, self._around)
        self._most_found = 1
        """The most matches of a face so far."""

    @property
    def photos(self) -> tuple[QueryPhoto, ...]:
        """The query photos used so far, in order."""
        return tuple(self._gathering.photos)

    @property
    def searched(self) -> str:
        """What the queries are compared with, in words."""
        if self.selected is not None:
            return f"the {counted(len(self.selected.face_ids), 'face')} of photos within the limits"
        info = self._reader.info
        return f"{counted(info.faces, 'face')} in {counted(info.photos, 'photo')}"

    @property
    def used_first_pass(self) -> bool:
        """Whether a first pass left out most faces of any answer so far."""
        return self._reader.used_first_pass

    def answer(self, queries: NamedQuery | Sequence[NamedQuery]) -> Generator[Answered]:
        """The results and failures, in the order of the queries, each as soon as it is known.

        A caller that may leave early must close the generator. Raises IndexMismatch, PackError or DeviceError if the
        models cannot be used.
        """
        named = queries if isinstance(queries, Sequence) and not isinstance(queries, str) else [queries]
        asked = [os.fspath(query) if isinstance(query, os.PathLike) else query for query in named]
        check_stdin(asked)
        with closing(self._watched(self._gathering.gather(asked), len(asked))) as gathered:
            if self._options.combine is Combine.SEPARATE:
                yield from self._in_order(gathered)
            else:
                yield from self._as_one(gathered)

    def _watched(self, gathered: Generator[Gathered], queries: int) -> Generator[Gathered]:
        """Report the progress of many queries."""
        report, failed = self._around.report, 0
        with closing(gathered):
            if queries < MANY or not report.watched:
                yield from gathered
                return
            with counting(report, "queries", queries):
                for found in gathered:
                    failed += isinstance(found, QueryFailure)
                    report.advance(1, failed=failed)
                    yield found

    def _in_order(self, gathered: Iterator[Gathered]) -> Iterator[Answered]:
        waiting: list[Gathered] = []
        size, began = 1, time.monotonic()
        for found in gathered:
            waiting.append(found)
            if len(waiting) == size:
                are_fast = time.monotonic() - began < FAST_SECONDS
                yield from self._answers(waiting)
                waiting, size = [], min(GROWTH * size, self._most_together(are_fast=are_fast))
                began = time.monotonic()
        yield from self._answers(waiting)

    def _most_together(self, *, are_fast: bool) -> int:
        """The most queries to compare at once, by the matches that each may have, or those before have had."""
        bounded = self._options.top and not self._options.bursts
        most = MOST_TOGETHER if are_fast and bounded else TOGETHER
        return min(most, max(1, MOST_MATCHES // (self._options.top if bounded else self._most_found)))

    def _answers(self, gathered: Sequence[Gathered]) -> Iterator[Answered]:
        """The answers to some queries; their faces are compared with the index at once."""
        faces = [face for found in gathered if not isinstance(found, QueryFailure) for face in found]
        results = self._match(combine_faces(faces, Combine.SEPARATE))
        for found in gathered:
            if isinstance(found, QueryFailure):
                yield found
            else:
                yield from (next(results) for _ in found)

    def _as_one(self, gathered: Iterator[Gathered]) -> Iterator[Answered]:
        faces: list[QueryFace] = []
        failed = False
        for found in gathered:
            if isinstance(found, QueryFailure):
                failed = True
                yield found
            else:
                faces += found
        if not (failed and self._options.combine is Combine.ALL):  # of no photo is it known that it shows everybody
            yield from self._match(combine_faces(faces, self._options.combine))

    def _match(self, blocks: Sequence[Block]) -> Iterator[SearchResult]:
        """The result of each block; all blocks are compared with the index at once."""
        everyone = self._options.combine is Combine.ALL
        most = self._options.top + 1 if self._options.top and not (everyone or self._options.bursts) else 0
        lists = self._lists(blocks, most, self.threshold.minimum)
        results = [self._result(block, some) for block, some in lists]
        if not everyone and self.threshold.minimum is not None:
            results = self._with_nearest(blocks, results)
        return map(self._with_confidence, results)

    def _lists(
        self, blocks: Sequence[Block], most: int, minimum: float | None
    ) -> Iterator[tuple[Block, list[list[Match]]]]:
        """The matches of each face of each block: the faces of a person, else the nearest ones.

        Of these at most `most`, or all for 0, and none below `minimum`.
        """
        by = By.FACE if self._options.combine is Combine.ALL else self._options.by
        asked = [(face, block.left_out) for block in blocks for face in block.faces if face.person_id is None]
        nearest: Iterator[list[Match]] = iter(())
        if asked:
            vectors = np.stack([face.embedding for face, _ in asked])
            among = self.selected.slots if self.selected is not None else None
            leave_out = [np.array(left_out, np.int64) for _, left_out in asked]
            scope = Scope(leave_out, among, self._first_pass())
            found = self._reader.nearest(vectors, top=most, minimum=minimum, by=by, scope=scope)
            self._most_found = max(self._most_found, *map(len, found))
            nearest = iter(found)
        for block in blocks:
            yield (
                block,
                [next(nearest) if face.person_id is None else self._own(face.person_id, by) for face in block.faces],
            )

    def _own(self, person_id: int, by: By) -> list[Match]:
        """The faces of a person."""
        ids = None if self.selected is None else self.selected.face_ids
        return matches_of_person(self._reader, person_id, by, lambda face_id: ids is None or _holds(ids, face_id))

    def _result(self, block: Block, lists: Sequence[Sequence[Match]]) -> SearchResult:
        """The matches of a block, at most as many as wanted."""
        result = self._together(block, lists)
        everyone, top = self._options.combine is Combine.ALL, self._options.top
        rows = top * len(block.faces) if everyone and self._options.by is By.FACE else top
        nearest = max((matches[0].similarity for matches in lists if matches), default=None)
        return replace(
            result,
            matches=result.matches[: rows or None],
            references=result.references[: rows or None],
            asked=block.references,
            more=0 < rows < len(result.matches),
            nearest=None if result.matches or everyone else nearest,
        )

    def _together(self, block: Block, lists: Sequence[Sequence[Match]]) -> SearchResult:
        """All matches of a block over the threshold, of its faces together."""
        over = [
            [match for match in matches if self._passes(face, match)]
            for face, matches in zip(block.faces, lists, strict=True)
        ]
        combine = match_everyone if self._options.combine is Combine.ALL else merge_matches
        result = combine(block, over, self._options.by)
        if not self._options.bursts:
            return result
        moments = self._reader.moments([match.face_id for match in result.matches])
        return one_a_burst(result, moments, of_everyone=self._options.combine is Combine.ALL)

    def _passes(self, face: QueryFace, match: Match) -> bool:
        """Whether a match is over the threshold; the faces of a person are, unless a threshold was asked for."""
        minimum = self.threshold.minimum
        if minimum is None or (face.person_id is not None and self.threshold.name == "auto"):
            return True
        # Similarities are float32: in the index, 0.28 is the float32 nearest to it.
        return match.similarity >= float(np.float32(minimum))

    def _with_nearest(self, blocks: Sequence[Block], results: Sequence[SearchResult]) -> list[SearchResult]:
        """The results; those without a match know how similar the nearest face is.

        It is looked for in a scan of its own: with a threshold, the first need not compare all faces.
        """
        missing = [not result.matches and result.nearest is None for result in results]
        empty = [block for block, is_missing in zip(blocks, missing, strict=True) if is_missing]
        known = iter([self._result(block, lists) for block, lists in self._lists(empty, 1, None)])
        return [next(known) if is_missing else result for is_missing, result in zip(missing, results, strict=True)]

    def _first_pass(self) -> float | None:
        """By how much estimates by short codes may be too low; None to compare every face."""
        calibration = self.threshold.calibration
        return None if self._options.exact or calibration is None else calibration.estimate_error

    def _with_confidence(self, result: SearchResult) -> SearchResult:
        if self._scale is None:
            return result
        judge = self._scale.judge
        return replace(result, matches=tuple(replace(m, confidence=judge(m.similarity)) for m in result.matches))

    def count(self, result: SearchResult) -> int:
        """How many matches a result has over the threshold, whatever `top` is; not counted beyond MOST_COUNTED."""
        most = 0 if self._options.combine is Combine.ALL or self._options.bursts else MOST_COUNTED
        blocks = combine_faces(result.asked, self._options.combine)
        ((block, lists),) = self._lists(blocks, most, self.threshold.minimum)
        return len(self._together(block, lists).matches)


def _holds(ids: Labels, face_id: int) -> bool:
    """Whether sorted ids, int64 (n,), hold one."""
    place = int(np.searchsorted(ids, face_id))
    return place < len(ids) and int(ids[place]) == face_id


def search_index(
    reader: IndexReader,
    queries: NamedQuery | Sequence[NamedQuery],
    options: SearchOptions | None = None,
    around: Surroundings | None = None,
) -> SearchAnswer:
    """Search an index for the faces of queries, as typed or already parsed, and collect the answers.

    Options and errors are those of `IndexSearch`.
    """
    search = IndexSearch(reader, options, around)
    return collected(search, search.answer(queries))


def collected(search: IndexSearch, answers: Iterator[Answered]) -> SearchAnswer:
    """All answers of a search together."""
    given = list(answers)
    results = tuple(answer for answer in given if not isinstance(answer, QueryFailure))
    failures = tuple(answer.error for answer in given if isinstance(answer, QueryFailure))
    return SearchAnswer(results, failures, search.threshold, search.photos, search.used_first_pass, search.searched)
