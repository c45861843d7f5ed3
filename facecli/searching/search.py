"""Search an index: find the faces of the queries, combine them into blocks, and match each block."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TypeAlias

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from facecli.config import By, Combine, SearchOptions
from facecli.errors import FacecliError, UsageError
from facecli.reporting import SilentReporter
from facecli.searching.calibrating import find_calibration
from facecli.searching.combining import Block, combine_faces, match_everyone, merge_matches
from facecli.searching.gathering import Gathered, Gathering, QueryFailure, Surroundings, check_stdin
from facecli.searching.people_queries import matches_of_person
from facecli.searching.query_parser import Query
from facecli.searching.reading import QueryPhoto
from facecli.store.reader import IndexReader
from facecli.store.records import Scope
from facecli.thresholds import Threshold, choose_threshold, confidence_scale
from facecli.types import Match, QueryFace, SearchResult

MANY = 10
"""The number of queries from which on progress is reported."""
MOST_TOGETHER = 64
"""The most queries that are compared with the index at once. The first is answered alone, then twice as many each time:
the first rows come at once, and many queries share a scan."""
MOST_COUNTED = 10_000
"""Matches beyond this number are not counted."""
OTHER_VERSION = "search with the facecli that made it, or let `facecli index --migrate` embed everything again"

NamedQuery: TypeAlias = str | os.PathLike[str] | Query
"""A query as typed, or already parsed."""
Answer: TypeAlias = SearchResult | QueryFailure


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


class Search:
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
        made_with = reader.info.fingerprint
        made_with.ask_same(made_with.as_made_here(), reader.info.directory, OTHER_VERSION)
        calibration = find_calibration(made_with.recogniser_sha256)
        self.threshold = choose_threshold(self._options.threshold, calibration, reader.info.faces)
        self._scale = None if calibration is None else confidence_scale(calibration, reader.info.faces)
        self._gathering = Gathering(reader, self._options, self._around)

    @property
    def photos(self) -> tuple[QueryPhoto, ...]:
        """The query photos used so far, in order."""
        return tuple(self._gathering.photos)

    @property
    def used_first_pass(self) -> bool:
        """Whether a first pass left out most faces of any answer so far."""
        return self._reader.used_first_pass

    def answer(self, queries: NamedQuery | Sequence[NamedQuery]) -> Generator[Answer]:
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
                yield from self._together(gathered)

    def _watched(self, gathered: Generator[Gathered], queries: int) -> Generator[Gathered]:
        """Report the progress of many queries."""
        report, failed = self._around.report, 0
        with closing(gathered):
            if queries < MANY or not report.watched:
                yield from gathered
                return
            report.start("queries", queries)
            try:
                for found in gathered:
                    failed += isinstance(found, QueryFailure)
                    report.advance(1, failed=failed)
                    yield found
            finally:
                report.stop()

    def _in_order(self, gathered: Iterator[Gathered]) -> Iterator[Answer]:
        waiting: list[Gathered] = []
        size = 1
        for found in gathered:
            waiting.append(found)
            if len(waiting) == size:
                yield from self._answers(waiting)
                waiting, size = [], min(2 * size, MOST_TOGETHER)
        yield from self._answers(waiting)

    def _answers(self, gathered: Sequence[Gathered]) -> Iterator[Answer]:
        """The answers to some queries; their faces are compared with the index at once."""
        faces = [face for found in gathered if not isinstance(found, QueryFailure) for face in found]
        results = self._match(combine_faces(faces, Combine.SEPARATE))
        for found in gathered:
            if isinstance(found, QueryFailure):
                yield found
            else:
                yield from (next(results) for _ in found)

    def _together(self, gathered: Iterator[Gathered]) -> Iterator[Answer]:
        faces: list[QueryFace] = []
        for found in gathered:
            if isinstance(found, QueryFailure):
                yield found
            else:
                faces += found
        yield from self._match(combine_faces(faces, self._options.combine))

    def _match(self, blocks: Sequence[Block]) -> Iterator[SearchResult]:
        """The result of each block.

        With a limit, one more match than wanted is looked for, so that it is known whether there are more.
        """
        if self._options.combine is Combine.ALL:
            results = [self._cut(self._everyone(block)) for block in blocks]
        else:
            results = self._over_threshold(blocks)
        for block, result in zip(blocks, results, strict=True):
            yield self._with_confidence(replace(result, asked=block.references))

    def _over_threshold(self, blocks: Sequence[Block]) -> list[SearchResult]:
        """The result of each block with the matches over the threshold; where there are none, with the nearest face.

        That one is looked for in a second scan: with a threshold, the first need not compare all faces.
        """
        top, minimum = self._options.top, self.threshold.minimum
        found = list(self._nearest(blocks, top + 1 if top else 0, minimum))
        results = [self._limited(result) for result in found]
        empty = [number for number, result in enumerate(found) if not result.matches] if minimum is not None else []
        for number, result in zip(empty, self._nearest([blocks[n] for n in empty], 1, None), strict=True):
            results[number] = self._limited(result)
        return results

    def _nearest(self, blocks: Sequence[Block], top: int, minimum: float | None) -> Iterator[SearchResult]:
        """The matches of each block, all blocks in one scan."""
        if not blocks:
            return
        found = self._found(blocks, top, minimum, self._options.by)
        for block in blocks:
            yield merge_matches(block, [next(found) for _ in block.faces], top, self._options.by)

    def _found(self, blocks: Sequence[Block], top: int, minimum: float | None, by: By) -> Iterator[list[Match]]:
        """The matches of each face of each block: the nearest faces, or of a person its own."""
        asked = [(face, np.array(block.left_out, np.int64)) for block in blocks for face in block.faces]
        seen = [(face.embedding, left_out) for face, left_out in asked if face.person_id is None]
        nearest: Iterator[list[Match]] = iter(())
        if seen:
            scope = Scope([left_out for _, left_out in seen], first_pass=self._first_pass())
            vectors = np.stack([vector for vector, _ in seen])
            nearest = iter(self._reader.nearest(vectors, top=top, minimum=minimum, by=by, scope=scope))
        for face, _ in asked:
            if face.person_id is None:
                yield next(nearest)
            else:
                yield matches_of_person(self._reader, face.person_id, by)[: top or None]

    def _everyone(self, block: Block) -> SearchResult:
        """The photos that show all faces of a block."""
        found = self._found([block], 0, self.threshold.minimum, By.FACE)
        over = [
            [match for match in matches if self._is_over(match, face)]
            for face, matches in zip(block.faces, found, strict=True)
        ]
        return match_everyone(block, over, self._options.by)

    def _cut(self, result: SearchResult) -> SearchResult:
        """The result with at most as many matches as wanted."""
        count = self._options.top or len(result.matches)
        more = len(result.matches) > count
        return replace(result, matches=result.matches[:count], references=result.references[:count], more=more)

    def _first_pass(self) -> float | None:
        """By how much estimates by short codes may be too low; None to compare every face."""
        calibration = self.threshold.calibration
        return None if self._options.exact or calibration is None else calibration.estimate_error

    def _limited(self, result: SearchResult) -> SearchResult:
        """The result with at most as many matches as wanted, of those over the threshold."""
        top = self._options.top
        faces = result.references or (result.query,) * len(result.matches)
        pairs = zip(result.matches, faces, strict=True)
        over = [(match, face) for match, face in pairs if self._is_over(match, face)]
        return replace(
            result,
            matches=tuple(replace(match, rank=rank) for rank, (match, _) in enumerate(over[: top or None], 1)),
            references=tuple(face for _, face in over[: top or None]) if result.references else (),
            more=0 < top < len(over),
            nearest=result.matches[0].similarity if result.matches and not over else None,
        )

    def _is_over(self, match: Match, face: QueryFace) -> bool:
        """Whether a match of a query face is over the threshold.

        A person's own faces need no threshold, unless one was asked for.
        """
        if face.person_id is not None and self.threshold.name == "auto":
            return True
        # Similarities are float32: in the index, 0.28 is the float32 nearest to it.
        return self.threshold.minimum is None or match.similarity >= float(np.float32(self.threshold.minimum))

    def _with_confidence(self, result: SearchResult) -> SearchResult:
        if self._scale is None:
            return result
        judge = self._scale.judge
        return replace(result, matches=tuple(replace(m, confidence=judge(m.similarity)) for m in result.matches))

    def count(self, result: SearchResult) -> int:
        """How many matches a result has over the threshold, at most MOST_COUNTED, whatever `top` is."""
        if not result.more:
            return len(result.matches)
        blocks = combine_faces(result.asked, self._options.combine)
        if self._options.combine is Combine.ALL:
            return len(self._everyone(blocks[0]).matches)
        (found,) = self._nearest(blocks, MOST_COUNTED, self.threshold.minimum)
        return len(found.matches)


def search_index(
    reader: IndexReader,
    queries: NamedQuery | Sequence[NamedQuery],
    options: SearchOptions | None = None,
    around: Surroundings | None = None,
) -> SearchAnswer:
    """Search an index for the faces of queries, as typed or already parsed, and collect the answers.

    Options and errors are those of `Search`.
    """
    search = Search(reader, options, around)
    return collected(search, search.answer(queries))


def collected(search: Search, answers: Iterator[Answer]) -> SearchAnswer:
    """All answers of a search together."""
    given = list(answers)
    results = tuple(answer for answer in given if not isinstance(answer, QueryFailure))
    failures = tuple(answer.error for answer in given if isinstance(answer, QueryFailure))
    return SearchAnswer(results, failures, search.threshold, search.photos, search.used_first_pass)
