"""`facecli search`: find the photos with the most similar faces."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from facecli.cli.choices import FACE, number
from facecli.cli.context import path_style, terminal_of
from facecli.cli.names import Name
from facecli.cli.options import Common, ExampleCommand, common_options, model_options
from facecli.cli.printing import FLAGS, choose_format, format_options, list_writer
from facecli.cli.streams import Results, results, say_error
from facecli.errors import UsageError
from facecli.wording import counted

if TYPE_CHECKING:
    from facecli.output.formats import OutputFormat
    from facecli.photos.recorded import Recorded
    from facecli.searching.search import SearchAnswer
    from facecli.store.reader import IndexReader
    from facecli.types import SearchResult

EXAMPLES = """
facecli search me.jpg                       the ten best photos
facecli search -l -k 0 me.jpg               the paths of all matches
facecli search -0 -k 0 me.jpg | xargs -0 cp -t found/
facecli search --combine mean a.jpg b.jpg   two references of one person
facecli search --face all group.jpg         results for each face
facecli search face:12 --json | jq -r .path
facecli search me.jpg --html found.html     an HTML page with the photos
curl -s URL | facecli search -              an image on stdin
"""


class SearchArguments(Struct, frozen=True):
    """The parsed arguments."""

    queries: tuple[str, ...]
    top: int
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
    provenance: bool
    show: bool
    html: str | None
    link_to: str | None
    copy_to: str | None
    dry_run: bool


@click.command(cls=ExampleCommand, epilog=EXAMPLES)
@click.argument("queries", metavar="QUERY...", nargs=-1, required=True, type=Name())
@click.option(
    "-k",
    "--top",
    metavar="N",
    type=number("top"),
    default=10,
    show_default=True,
    help="Maximum rows per query; 0 for all.",
)
@click.option(
    "-t",
    "--threshold",
    metavar="X|NAME",
    default="auto",
    show_default=True,
    help="Minimum similarity: a number, loose, balanced, strict, none, or auto: depends on the index size, with a "
    "chance of one in ten that any stranger passes.",
)
@click.option(
    "--face",
    metavar="largest|all|N",
    type=FACE,
    default="largest",
    show_default=True,
    help="Which face of a query photo to search for.",
)
@click.option(
    "--combine",
    type=click.Choice(["any", "mean", "separate"]),
    default="separate",
    show_default=True,
    help="Several queries: match any of them, match their mean (one person), or search each separately.",
)
@click.option(
    "--by",
    type=click.Choice(["photo", "face"]),
    default="photo",
    show_default=True,
    help="One row per photo (its best face) or per face.",
)
@format_options("paths", "print0", "json", "csv")
@click.option("--provenance", is_flag=True, help="With --json: first print the model, threshold and index used.")
@click.option(
    "--show",
    is_flag=True,
    help="Draw the faces on the terminal; FACECLI_GRAPHICS sets the protocol: kitty, iterm2, sixel, blocks.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=Name(dir_okay=False),
    help="Write an HTML page with the faces and photos found; replaces an earlier page.",
)
@click.option(
    "--link-to",
    metavar="DIR",
    type=Name(file_okay=False),
    help="Link the photos found into DIR; never overwrites a file.",
)
@click.option(
    "--copy-to",
    metavar="DIR",
    type=Name(file_okay=False),
    help="Copy the photos found into DIR; never overwrites a file.",
)
@click.option("--dry-run", is_flag=True, help="With --link-to or --copy-to: print what would be done, change nothing.")
@model_options
@common_options
def search(common: Common, **given: Any) -> int:
    """Find the photos with the most similar faces.

    A QUERY is an image file, - for an image on stdin, or face:ID for a face of the index. Prints a table on a terminal,
    tab-separated rows in a pipe: similarity, path, face, box. Exit code 0: match found, 1: no match, 2: error.
    """
    return _Search(common, SearchArguments(**given)).run()


class _Search:
    """One run of the command."""

    def __init__(self, common: Common, request: SearchArguments) -> None:
        self.common, self.request = common, request
        self.console = common.console()
        self.form = _format(request)

    def run(self) -> int:
        # Imported here, so that --help does not load numpy.
        from facecli.store.locate import find_index  # noqa: PLC0415
        from facecli.store.reader import open_reader  # noqa: PLC0415

        self._check_targets()
        with open_reader(find_index(self.common.index, os.getcwd())) as reader:
            answer = self._ask(reader)
            if reader.notice:
                self.console.detail(f"searching the catalogue instead of the vector file: {reader.notice}")
            self._explain(answer, reader)
            found = answer.results
            if not self._stdout_is_for_page():
                with results(lasting=self._makes_more()) as out:
                    self._write(answer, reader, out)
            if self.request.show:
                self._show(answer, found, reader)
            if self.request.html is not None and not self.request.dry_run:
                self._make_page(answer, found, reader)
            originals = self._originals(found, reader)
        failed = self._collect(originals)
        for failure in answer.failures:
            say_error(str(failure), failure.hint)
        if answer.failures or failed:
            return 2
        return 0 if any(result.matches for result in found) else 1

    def _makes_more(self) -> bool:
        """Whether files are written too, which a closed stdout must not prevent."""
        asked = self.request
        return bool(asked.html or asked.link_to or asked.copy_to)

    def _stdout_is_for_page(self) -> bool:
        from facecli.cli.streaming import is_stdout  # noqa: PLC0415

        asked = self.request
        return asked.html is not None and not asked.dry_run and is_stdout(asked.html)

    def _check_targets(self) -> None:
        """Check the output options before searching; raises UsageError or OutputError."""
        asked = self.request
        if asked.dry_run and not (asked.link_to or asked.copy_to):
            raise UsageError("nothing to link or copy", "--dry-run", hint="--dry-run needs --link-to or --copy-to")
        if asked.show and not sys.stdout.isatty():
            raise UsageError("stdout is not a terminal", "--show", hint="--html FILE")
        for directory in (asked.link_to, asked.copy_to):
            if directory is not None:
                from facecli.output.placing import refuse_index  # noqa: PLC0415

                refuse_index(directory)
        if asked.html is not None:
            from facecli.cli.html_page import check_page  # noqa: PLC0415

            check_page(asked.html)
            if self._stdout_is_for_page() and (asked.paths or asked.print0 or asked.json or asked.csv):
                raise UsageError("stdout can hold the page or the rows, not both", f"--html {asked.html}")

    def _show(self, answer: SearchAnswer, results: tuple[SearchResult, ...], reader: IndexReader) -> None:
        from facecli.cli.showing import show_faces  # noqa: PLC0415

        show_faces(reader, answer, results, terminal_of(self.common), self.console)

    def _make_page(self, answer: SearchAnswer, results: tuple[SearchResult, ...], reader: IndexReader) -> None:
        from facecli.cli.html_page import PageMaker  # noqa: PLC0415

        assert self.request.html is not None
        PageMaker(reader, answer, path_style(self.common)).make(self.request.html, results, self.console)

    def _originals(self, results: tuple[SearchResult, ...], reader: IndexReader) -> list[Recorded]:
        """List the photos to link or copy, while the index is open.

        The copying itself runs after the index is closed: it may take long, and `remove` waits for readers.
        """
        if not (self.request.link_to or self.request.copy_to):
            return []
        from facecli.searching.originals import originals_of  # noqa: PLC0415

        return originals_of(reader, results)

    def _collect(self, originals: list[Recorded]) -> int:
        """Link and copy; returns the number of photos that failed."""
        failed = 0
        for directory, copy in ((self.request.link_to, False), (self.request.copy_to, True)):
            if directory is not None:
                from facecli.cli.export_files import collect_photos  # noqa: PLC0415
                from facecli.output.placing import Folder  # noqa: PLC0415

                folder = Folder(directory, dry_run=self.request.dry_run)
                failed += collect_photos(originals, folder, path_style(self.common), self.console, copy=copy)
        return failed

    def _ask(self, reader: IndexReader) -> SearchAnswer:
        from facecli.config import By, Combine, SearchOptions  # noqa: PLC0415
        from facecli.searching.search import Surroundings, search_index  # noqa: PLC0415

        asked = self.request
        options = SearchOptions(
            top=asked.top,
            threshold=asked.threshold,
            face=asked.face,
            combine=Combine(asked.combine),
            by=By(asked.by),
            model=asked.model,
            device=asked.device,
            provenance=asked.provenance or asked.html is not None,
        )
        answer = search_index(reader, asked.queries, options, Surroundings(os.getcwd(), sys.stdin.buffer, self.console))
        if len(asked.queries) == 1 and answer.failures:
            raise answer.failures[0]
        return answer

    def _explain(self, answer: SearchAnswer, reader: IndexReader) -> None:
        """Print the threshold and the queries without matches."""
        threshold, info = answer.threshold, reader.info
        if threshold.minimum is None and threshold.name == "auto":
            self.console.warn(f"{threshold.describe()}; give -t a number, or run facecli calibrate")
        elif threshold.exceeded:
            self.console.warn(threshold.expectation())
        self.console.detail(threshold.describe())
        among = f"{counted(info.faces, 'face')} in {counted(info.photos, 'photo')}"
        for result in answer.results:
            if not result.matches:
                who = f"{result.query.query}: " if len(answer.results) > 1 else ""
                self.console.warn(f"{who}not found among {among}")

    def _write(self, answer: SearchAnswer, reader: IndexReader, out: Results) -> None:
        """Write the rows."""
        from facecli.output.matches import MatchLayout, pairs_of  # noqa: PLC0415
        from facecli.output.records import json_line  # noqa: PLC0415

        if self.request.provenance:
            from facecli.searching.provenance import provenance_record  # noqa: PLC0415

            out.write(json_line({"provenance": provenance_record(answer, reader.info)}))
        writer = list_writer(self.form, out, MatchLayout(path_style(self.common)), self.common)
        writer.begin()
        for result in answer.results:
            writer.write(pairs_of(result), f"{result.query.query}, face {result.query.number}")
        writer.end()


def _format(request: SearchArguments) -> OutputFormat:
    """Choose the output format; raises UsageError on several."""
    form = choose_format({name: getattr(request, name) for name in FLAGS})
    if request.provenance and not request.json:
        raise UsageError("--provenance needs --json", "--provenance", hint="--json --provenance")
    return form
