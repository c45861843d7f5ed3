"""`search`: print the answers to queries as they come, and say what the rows do not show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from facecli.cli.context import path_style
from facecli.cli.printing import list_writer
from facecli.cli.streams import say_error
from facecli.directories import is_gone
from facecli.output.formats import OutputFormat
from facecli.output.matches import MatchLayout, empty_record, failure_record, one_each, pairs_of
from facecli.output.records import json_line
from facecli.searching.gathering import QueryFailure
from facecli.searching.search import MOST_COUNTED
from facecli.types import SearchResult
from facecli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from facecli.cli.options import Common
    from facecli.cli.streams import Results
    from facecli.output.formats import ListWriter
    from facecli.output.matches import FoundMatch
    from facecli.searching.search import Answered, IndexSearch
    from facecli.types import JsonValue

PATHS = (OutputFormat.PATHS, OutputFormat.PRINT0)


class RowOptions(Struct, frozen=True):
    """What to print of an answer."""

    form: OutputFormat
    rows: int
    """The most matches of a result; 0 for all."""
    all_queries: bool
    """Whether queries without a match have a record, too."""
    missing: bool
    """Whether lists of paths name the photos whose file is gone."""
    bursts: bool
    """Whether records say how many photos of a burst they stand for."""
    several: bool
    """Whether there may be several results, so that messages name the query."""


class AnswerPrinter:
    """Prints answers one after another, and counts them."""

    def __init__(self, common: Common, options: RowOptions, search: IndexSearch) -> None:
        self.matched = self.failed = 0
        """The results with a match to print, and the queries that failed."""
        self._common, self._options, self._search = common, options, search
        self._console = common.console()
        self._out: Results | None = None
        self._writer: ListWriter[FoundMatch] | None = None
        self._gone: dict[str, bool] = {}
        self._unmatched = 0
        self._longer: list[SearchResult] = []
        """The results with more matches than are printed."""

    def open(self, out: Results) -> None:
        """Print rows to stdout from now on."""
        self._out = out

    def print(self, answer: Answered) -> None:
        """Print the rows of one answer, or say why there are none."""
        if isinstance(answer, QueryFailure):
            self.failed += 1
            self._record(failure_record(answer.query, str(answer.error)))
            say_error(str(answer.error), answer.error.hint)
        else:
            self._print_result(answer)
        if self._out is not None:
            self._out.flush()

    def _print_result(self, result: SearchResult) -> None:
        if self._writer is None and self._out is not None:
            self._writer = list_writer(self._options.form, self._out, self._layout(), self._common)
            self._writer.begin()
        if not result.matches:
            self._unmatched += 1
            self._record(empty_record(result.query, result.nearest))
            self._tell_unmatched(result)
            return
        shown = shortened(result, self._options.rows)
        kept = self._kept(shown)
        self.matched += bool(kept)
        self._unmatched += not kept
        if shown.more:
            self._longer.append(result)
        if self._writer is not None:
            asked = result.query
            title = asked.query if asked.person_id is not None else f"{asked.query}, face {asked.number}"
            self._writer.write(kept, title)

    def _layout(self) -> MatchLayout:
        return MatchLayout(path_style(self._common), self._is_gone, bursts=self._options.bursts)

    def _kept(self, result: SearchResult) -> list[FoundMatch]:
        """The matches of a result to print: in a list of paths, those whose photo is there."""
        leaves_out = self._options.form in PATHS and not self._options.missing
        pairs = one_each(pairs_of(result)) if self._options.form is OutputFormat.TABLE else pairs_of(result)
        return [pair for pair in pairs if not (leaves_out and self._is_gone(pair[1].path))]

    def _is_gone(self, path: str) -> bool:
        if path not in self._gone:
            self._gone[path] = is_gone(path)
        return self._gone[path]

    def _record(self, record: Mapping[str, JsonValue]) -> None:
        """Print the record of a query without a match, if these are asked for."""
        if self._options.all_queries and self._out is not None:
            self._out.write(json_line(record))

    def _tell_unmatched(self, result: SearchResult) -> None:
        who = f"{result.query.query}: " if self._options.several else ""
        nearest = "" if result.nearest is None else f"; the nearest has {result.nearest:.2f} (-t none shows it)"
        self._console.warn(f"{who}not found among {self._search.searched}{nearest}")

    def end(self) -> None:
        """Print the end of the list, and say what it does not show."""
        if self._writer is not None:
            self._writer.end()
        if not self._console.quiet:
            self._tell_longer()
        gone = sum(self._gone.values())
        if gone and self._options.form in PATHS:
            self._console.warn(f"{counted(gone, 'photo')} left out, whose files are gone; --missing keeps them")
        elif gone:
            self._console.warn(f"the files of {counted(gone, 'photo')} are gone; facecli remove --missing drops them")

    def _tell_longer(self) -> None:
        rows = self._options.rows or max((len(result.matches) for result in self._longer), default=0)
        if self._longer and self.matched + self._unmatched == 1:
            (result,) = self._longer
            count = self._search.count(result)
            total = f"over {MOST_COUNTED - 1:,}" if count == MOST_COUNTED else f"{count:,}"
            self._console.warn(f"{rows} of {total} matches; -k 0 shows all")
        elif self._longer:
            faces = counted(len(self._longer), "query face")
            self._console.warn(f"{faces} with more than {counted(rows, 'match')}; -k 0 shows all")


def shortened(result: SearchResult, rows: int) -> SearchResult:
    """The result with at most `rows` matches; 0 for all."""
    if not rows or len(result.matches) <= rows:
        return result
    return replace(result, matches=result.matches[:rows], references=result.references[:rows], more=True)
