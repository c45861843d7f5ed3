"""`search`: one run of the command."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from facecli.cli.context import now, path_style, terminal_of
from facecli.cli.limiting import tell_left_out
from facecli.cli.lists import read_names
from facecli.cli.printing import FLAGS, choose_format
from facecli.cli.search_rows import AnswerPrinter, RowOptions, shortened
from facecli.cli.streaming import is_stdout, takes_stream
from facecli.cli.streams import results
from facecli.config import By, Combine, SearchOptions
from facecli.errors import UsageError
from facecli.limits import read_limits
from facecli.output.placing import Folder, refuse_index
from facecli.output.records import json_line
from facecli.searching.gathering import Surroundings
from facecli.searching.originals import originals_of
from facecli.searching.people_queries import asks_for_people, may_ask_for_people
from facecli.searching.provenance import provenance_record
from facecli.searching.search import IndexSearch, collected
from facecli.store.locate import find_index
from facecli.store.reader import open_reader

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from facecli.cli.options import Common
    from facecli.photos.recorded import Recorded
    from facecli.searching.search import Answered, SearchAnswer
    from facecli.store.reader import IndexReader

ROWS = 10
"""The most rows of a query, unless -k is given."""


class SearchArguments(Struct, frozen=True):
    """The parsed arguments."""

    queries: tuple[str, ...]
    files_from: str | None
    top: int | None
    threshold: str
    face: str
    combine: str
    by: str
    model: str | None
    device: str
    paths: bool
    print0: bool
    json: bool
    csv: bool
    all_queries: bool
    missing: bool
    provenance: bool
    exact: bool
    show: bool
    html: str | None
    open_page: bool
    link_to: str | None
    copy_to: str | None
    dry_run: bool
    under: tuple[str, ...]
    after: str | None
    before: str | None
    near: str | None
    bursts: bool

    @property
    def makes_files(self) -> bool:
        """Whether a page, links or copies are made, which a closed stdout must not prevent."""
        return bool(self.html or self.link_to or self.copy_to)


class SearchRun:
    """One run of the command."""

    def __init__(self, common: Common, request: SearchArguments) -> None:
        self.common, self.request = common, request
        self.console = common.console()
        self.form = choose_format(_asked_formats(request))
        # Rows that come one after another would be written over the bar.
        self.console.watched = self.console.watched and not sys.stdout.isatty()

    def run(self) -> int:
        """Search, print and make what was asked for; returns the exit code."""
        self._check()
        queries = _queries_of(self.request)
        directory = find_index(self.common.index, os.getcwd())
        with self._reader(directory, queries) as reader:
            search = IndexSearch(reader, self._options(), Surroundings(os.getcwd(), sys.stdin.buffer, self.console))
            self._tell_threshold(search)
            if search.selected is not None:
                tell_left_out(search.selected, self.console)
            printer = AnswerPrinter(self.common, self._row_options(len(queries)), search)
            with closing(search.answer(queries)) as answers:
                kept = self._print(answers, printer, search, reader)
            if reader.notice:
                self.console.detail(f"searching the catalogue instead of the vector file: {reader.notice}")
            self.console.detail(
                "a first pass by short codes left out most faces (recall measured, --exact compares all)"
                if search.used_first_pass
                else "all faces were compared"
            )
            originals = self._make(collected(search, iter(kept)), reader)
        failed = self._collect(originals)
        if printer.failed or failed:
            return 2
        return 0 if printer.matched else 1

    def _reader(self, directory: Path, queries: Sequence[str]) -> AbstractContextManager[IndexReader]:
        """The index; its groups are brought up to date first where a query is for a person, or a burst of one."""
        bursts = self.request.bursts
        if not bursts and not may_ask_for_people(queries, os.getcwd()):
            return open_reader(directory)
        from facecli.naming.album import open_with_people  # noqa: PLC0415 (only for people)

        def asks(reader: IndexReader) -> bool:
            return bursts or asks_for_people(reader, queries, os.getcwd())

        return open_with_people(directory, asks, self.console)

    def _print(
        self, answers: Generator[Answered], printer: AnswerPrinter, search: IndexSearch, reader: IndexReader
    ) -> list[Answered]:
        """Print the answers as they come; returns those that are needed for more than rows."""
        asked, kept = self.request, []
        with results(lasting=asked.makes_files) as out:
            given: Iterable[Answered] = answers
            if asked.provenance:
                given = every = list(answers)
                made = provenance_record(collected(search, iter(every)), reader.info, now())
                out.write(json_line({"provenance": made}))
            if not self._stdout_is_for_page():
                printer.open(out)
            for answer in given:
                printer.print(answer)
                if asked.makes_files or asked.show:
                    kept.append(answer)
            printer.end()
        return kept

    def _stdout_is_for_page(self) -> bool:
        asked = self.request
        return asked.html is not None and not asked.dry_run and is_stdout(asked.html)

    def _check(self) -> None:
        """Check the output options before searching; raises UsageError or OutputError."""
        asked = self.request
        for given, needs, option, needed in (
            (asked.dry_run, asked.link_to or asked.copy_to, "--dry-run", "--link-to or --copy-to"),
            (asked.open_page, asked.html, "--open", "--html FILE"),
            (asked.provenance, asked.json, "--provenance", "--json"),
            (asked.all_queries, asked.json, "--all-queries", "--json"),
        ):
            if given and not needs:
                raise UsageError(f"{option} needs {needed}", option, hint=f"{needed} {option}")
        if asked.show and not sys.stdout.isatty():
            raise UsageError("stdout is not a terminal", "--show", hint="--html FILE")
        for directory in (asked.link_to, asked.copy_to):
            if directory is not None:
                refuse_index(directory)
        if asked.html is not None:
            self._check_page(asked.html)

    def _check_page(self, file: str) -> None:
        from facecli.cli.html_page import check_page  # noqa: PLC0415

        check_page(file)
        if self._stdout_is_for_page() and any(_asked_formats(self.request).values()):
            raise UsageError("stdout can hold the page or the rows, not both", f"--html {file}")
        if self.request.open_page and takes_stream(file):
            raise UsageError("--open needs a page in a file", f"--html {file}")

    def _options(self) -> SearchOptions:
        asked = self.request
        default = 0 if asked.makes_files else ROWS
        return SearchOptions(
            top=default if asked.top is None else asked.top,
            threshold=asked.threshold,
            face=asked.face,
            combine=Combine(asked.combine),
            by=By(asked.by),
            model=asked.model,
            device=asked.device,
            provenance=asked.provenance or asked.html is not None,
            limits=read_limits(asked.under, asked.after, asked.before, asked.near),
            bursts=asked.bursts,
            exact=asked.exact,
        )

    def _row_options(self, queries: int) -> RowOptions:
        asked = self.request
        rows = 0 if self._stdout_is_for_page() else ROWS if asked.top is None else asked.top
        several = queries > 1 or asked.face == "all"
        return RowOptions(self.form, rows, asked.all_queries, asked.missing, asked.bursts, several)

    def _tell_threshold(self, search: IndexSearch) -> None:
        threshold = search.threshold
        if threshold.minimum is None and threshold.name == "auto":
            self.console.warn(f"{threshold.describe()}; give -t a number, or run facecli calibrate")
        elif threshold.exceeded:
            self.console.warn(threshold.expectation())
        self.console.detail(threshold.describe())

    def _make(self, answer: SearchAnswer, reader: IndexReader) -> list[Recorded]:
        """Draw the faces and write the page; returns the photos to link or copy.

        These are copied after the index is closed: it may take long, and `remove` waits for readers.
        """
        if self.request.show:
            from facecli.cli.showing import show_faces  # noqa: PLC0415

            rows = self._row_options(1).rows
            shown = replace(answer, results=tuple(shortened(result, rows) for result in answer.results))
            show_faces(reader, shown, terminal_of(self.common), self.console)
        # Where no query was answered, an earlier page stays.
        if self.request.html is not None and answer.results and not self.request.dry_run:
            from facecli.cli.html_page import PageMaker  # noqa: PLC0415

            page = PageMaker(reader, answer, path_style(self.common), self.console)
            page.make(self.request.html, show=self.request.open_page)
        if not (self.request.link_to or self.request.copy_to):
            return []
        return originals_of(reader, answer.results)

    def _collect(self, originals: list[Recorded]) -> int:
        """Link and copy; returns the number of photos that failed."""
        failed = 0
        for directory, copy in ((self.request.link_to, False), (self.request.copy_to, True)):
            if directory is not None:
                # Imported here: most searches only print.
                from facecli.cli.export_files import collect_photos  # noqa: PLC0415

                folder = Folder(directory, dry_run=self.request.dry_run)
                failed += collect_photos(originals, folder, path_style(self.common), self.console, copy=copy)
        return failed


def _asked_formats(request: SearchArguments) -> dict[str, bool]:
    """The formats asked for; -0 with a list is about the list, unless no other format is asked for."""
    asked = {name: bool(getattr(request, name)) for name in FLAGS}
    if request.files_from is not None and (asked["json"] or asked["csv"]):
        asked["print0"] = False
    return asked


def _queries_of(request: SearchArguments) -> tuple[str, ...]:
    """The queries named and listed; raises UsageError if there are none."""
    listed: tuple[str, ...] = ()
    if request.files_from is not None:
        if request.files_from == "-" and "-" in request.queries:
            raise UsageError("stdin can be read only once", "- and --files-from -")
        listed = tuple(read_names(request.files_from, nul=request.print0))
    queries = (*request.queries, *listed)
    if not queries:
        raise UsageError(
            "nothing to search for" if request.files_from is None else "the list is empty",
            request.files_from or "facecli search",
            hint="name a photo, face:ID, or - for an image on stdin",
        )
    return queries
