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

from facecli.config import Combine, SearchOptions
from facecli.errors import FacecliError, UsageError
from facecli.reporting import SilentReporter
from facecli.searching.calibrating import find_calibration
from facecli.searching.combining import Block, combine_faces, merge_matches
from facecli.searching.gathering import Gathered, Gathering, QueryFailure, Surroundings, check_stdin
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

        With a limit, one more match than wanted is looked for, so that it is known whether there are more. Where there
        is none, the nearest face is looked for without a threshold, to tell how similar it is.
        """
        top, minimum = self._options.top, self.threshold.minimum
        results = list(self._nearest(blocks, top + 1 if top else 0, minimum))
        if top:
            results = [self._limited(result) for result in results]
        empty = [number for number, result in enumerate(results) if not result.matches]
        nearest = self._nearest([blocks[number] for number in empty], 1, None) if minimum is not None else ()
        for number, result in zip(empty, nearest, strict=False):
            results[number] = self._limited(result, 0)
        for block, result in zip(blocks, results, strict=True):
            yield self._with_confidence(replace(result, asked=block.references))

    def _nearest(self, blocks: Sequence[Block], top: int, minimum: float | None) -> Iterator[SearchResult]:
        """The matches of each block, all blocks in one scan."""
        if not blocks:
            return
        vectors = np.stack([face.embedding for block in blocks for face in block.faces])
        left_out = [ids for block in blocks for ids in [np.array(block.left_out, np.int64)] * len(block.faces)]
        by, scope = self._options.by, Scope(left_out, first_pass=self._first_pass())
        found = iter(self._reader.nearest(vectors, top=top, minimum=minimum, by=by, scope=scope))
        for block in blocks:
            yield merge_matches(block, [next(found) for _ in block.faces], top, by)

    def _first_pass(self) -> float | None:
        """By how much estimates by short codes may be too low; None to compare every face."""
        calibration = self.threshold.calibration
        return None if self._options.exact or calibration is None else calibration.estimate_error

    def _limited(self, result: SearchResult, top: int | None = None) -> SearchResult:
        """The result with at most `top` matches, of those over the threshold."""
        top = self._options.top if top is None else top
        over = [match for match in result.matches if self._is_over(match)]
        kept = min(top, len(over))
        return replace(
            result,
            matches=result.matches[:kept],
            references=result.references[:kept],
            more=len(over) > top,
            nearest=result.matches[0].similarity if result.matches and not over else None,
        )

    def _is_over(self, match: Match) -> bool:
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
